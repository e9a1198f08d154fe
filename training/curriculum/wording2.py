"""Grammars that widen the patterns of memory, sums, lists, requests and small talk."""
TELL = "(Tell me|Say|Please say|Please tell me|I want to know|I would like to know|Let me know|I need to know|Remind me)"
KNOW = "(Do you know|Do you remember|Can you tell me|Could you tell me|Can you say|Do you recall|Can you recall|Did you note)"
NOW = "( now| today| again| by the way|)"
KEEP = "(Remember|Note|Keep in mind|Do not forget|You should know|It is good to know|I tell you|I have to say|I can say|You may know|Write down) that "

# key -> (statements, questions)
ATTRS = {
    "name": (["(My name is|I am called|Call me|People call me|I'm|I am|They call me|You can call me|My friends call me|Everyone calls me|The name is) {v}" + NOW + ".", KEEP + "(my name is|I am called|they call me|I am) {v}."],
             [TELL + " (my name|who I am|what I am called|how I am called|what my name is).", KNOW + " (my name|who I am|what I am called|how I am called|what my name is)?", "(What is|What was|Which is) (my name|the name I told you|the name I gave)" + NOW + "?"]),
    "city": (["(I live in|I am from|My home is in|I moved to|I come from|I grew up in|I stay in|I was born in|I have a house in|I rent a room in|My family lives in|I settled in) {v}" + NOW + ".", KEEP + "(I live in|I am from|my home is in|I come from) {v}."],
             [TELL + " (where I live|my city|where I am from|where my home is|which city I live in).", KNOW + " (where I live|my city|where I am from|where my home is|which city I live in)?", "(Which city|What city|Which town) (is my home|do I live in|did I name|am I from)" + NOW + "?"]),
    "job": (["(I am|I work as|I was hired as|I became|I make my living as|I trained as|My job is to be|I have a job as|I earn money as) a {v}" + NOW + ".", KEEP + "(I am|I work as|I have a job as) a {v}."],
            [TELL + " (my job|what I do for work|what I work as|my profession).", KNOW + " (my job|what I do for work|what I work as|my profession)?", "(What is|Which is|What was) my (job|work|profession|trade)" + NOW + "?"]),
    "age": (["(I am|I'm|I turned|I just turned|My age is|I am already|I will soon be|I am now) {v}( years old| years of age|)" + NOW + ".", KEEP + "(I am|my age is|I turned) {v}( years old|)."],
            [TELL + " (my age|how old I am|what my age is).", KNOW + " (my age|how old I am|what my age is)?", "(What is|What was) my age" + NOW + "?", "How old (am I|was I|did I say I am)" + NOW + "?"]),
    "likes": (["(I love|I enjoy|I like|My hobby is|I am fond of|I am good at|I spend my time on|I started|My pastime is|On weekends I do) {v}" + NOW + ".", KEEP + "(I love|I enjoy|I like|my hobby is) {v}."],
              [TELL + " (my hobby|what I like to do|what I enjoy|what I love|my pastime).", KNOW + " (my hobby|what I like to do|what I enjoy|what I love|my pastime)?", "(What is|Which is|What was) my (hobby|pastime)" + NOW + "?"]),
}
OWNED = {
    "pet": (["(My|The|Our) {k} (is called|is named|has the name|goes by|answers to|got the name) {v}" + NOW + ".", "I (have|own|keep|feed|love|bought|found|live with|walk) a {k} (named|called|by the name of|whose name is) {v}" + NOW + ".", KEEP + "my {k} is (called|named) {v}."],
            [TELL + " (the name of my {k}|my {k}'s name|what my {k} is called|how my {k} is called).", KNOW + " (the name of my {k}|my {k}'s name|what my {k} is called|how my {k} is called)?",
             "(What is|What was|Which is) (the name of my {k}|my {k}'s name|my {k} called)" + NOW + "?", "(What|Which) name (did I give|has|do we use for) my {k}" + NOW + "?"]),
    "kin": (["My {k} (is called|is named|has the name|goes by|is) {v}" + NOW + ".", "I (have|live with|met|called|visit|love|work with|talked to) (my {k},|my dear {k},|my {k} named|a {k} called|a {k} named) {v}" + NOW + ".", "{v} is my {k}" + NOW + ".", KEEP + "my {k} is (called|named) {v}."],
            [TELL + " (the name of my {k}|my {k}'s name|what my {k} is called|who my {k} is).", KNOW + " (the name of my {k}|my {k}'s name|what my {k} is called|who my {k} is)?",
             "(What is|What was|Which is) (the name of my {k}|my {k}'s name|my {k} called)" + NOW + "?", "Who (is|was) my {k}" + NOW + "?"]),
    "fav": (["(My favorite|My most loved|My number one|The best) {k} (is|was always|will always be|for me is) {v}" + NOW + ".", "The {k} (I like best|I love most|I prefer|I would pick|I always choose) is {v}" + NOW + ".", KEEP + "my favorite {k} is {v}."],
            [TELL + " (my favorite {k}|which {k} I like best|what {k} I prefer|the {k} I love most).", KNOW + " (my favorite {k}|which {k} I like best|what {k} I prefer|the {k} I love most)?", "(What|Which) {k} (do I like best|do I prefer|do I love most|is my favorite|would I pick)" + NOW + "?"]),
    "code": (["(My|The|Our) {k} (is|was set to|will be|is now|has been) {v}" + NOW + ".", "(I got|They gave me|I was given|I have|I use|I chose) the {k} {v}" + NOW + ".", KEEP + "my {k} is {v}."],
             [TELL + " (my {k}|the {k}|what my {k} is|which {k} I have).", KNOW + " (my {k}|the {k}|what my {k} is|which {k} I have)?", "(What is|What was|Which is) (my {k}|the {k}|the {k} I told you|the {k} I got)" + NOW + "?"]),
    "when": (["(My|The|Our) {k} (is|is set|is planned|was moved|takes place|will be|starts) (on|for) {v}" + NOW + ".", "(I have|We have|There is|I planned) (my|a|the) {k} on {v}" + NOW + ".", KEEP + "my {k} is on {v}."],
             [TELL + " (when my {k} is|the day of my {k}|the date of my {k}|on which day my {k} is).", KNOW + " (when my {k} is|the day of my {k}|the date of my {k}|on which day my {k} is)?", "(When is|When was|On which day is|On what day is|For when is) (my {k}|the {k}|our {k})" + NOW + "?"]),
    "place": (["(My|The) {k} (is|lies|was left|was put|stays|waits|is kept|should be) in the {v}" + NOW + ".", "I (put|left|keep|hid|forgot|placed|dropped|stored|have) (my|the) {k} in the {v}" + NOW + ".", KEEP + "my {k} is in the {v}."],
              [TELL + " (where my {k} is|where I put my {k}|where I left my {k}|the place of my {k}).", KNOW + " (where my {k} is|where I put my {k}|where I left my {k}|the place of my {k})?", "Where (is|did I put|did I leave|can I find|do I keep|was|do I get) my {k}" + NOW + "?"]),
    "bought": (["I (bought|have|own|got|found|counted|brought|sold|saw|need|ordered|made|keep|packed|carry) {v} {k}" + NOW + ".", "(In my bag|On my desk|In my box|At home|In my room) (are|there are|I have|I found) {v} {k}" + NOW + ".", KEEP + "I (have|own|got) {v} {k}."],
               [TELL + " (how many {k} I have|the number of my {k}|how many {k} there are|how many {k} I own).", KNOW + " (how many {k} I have|the number of my {k}|how many {k} there are|how many {k} I own)?", "How many {k} (do I have|did I get|do I own|are mine|were there|did I mention)" + NOW + "?"]),
}
LEAD = "(Listen|Look|Hello|Hey|Well|OK|Please note|One fact|A fact|Something about me|About me|Just to tell you|For your notes|First|Next|A small thing|By the way)(. |: |, here it is. )"
BEFORE = "(Listen|Hello|Hey|Well|OK|Tell me|Now|Please|So|A question|My question|One more question|Just one thing|I ask you|Think back|Let me ask|Next)(. |: |! )"

ASKNUM = "(What is|How much is|Calculate|Compute|Work out|Solve|Tell me|Please solve|Can you do|Give me|I need|Find|Please compute|Let us do|Do you know|Say) "
ADD = [ASKNUM + "({a} + {b}|{a} plus {b}|the sum of {a} and {b}|{a} added to {b}|{a} and {b} together|{a} and {b} in total|the total of {a} and {b})(.|?| please.|)", "(Add|Sum up|Put together|Add up|Combine) (the numbers|) {a} and {b}(.| for me.| please.|)"]
SUB = [ASKNUM + "({a} - {b}|{a} minus {b}|{a} take away {b}|{a} less {b}|the difference of {a} and {b}|the result of {a} - {b}|the rest of {a} minus {b})(.|?| please.|)", "(Subtract|Take|Take away|Remove|Deduct) {b} from {a}(.| for me.| please.|)"]
MUL = [ASKNUM + "({a} * {b}|{a} times {b}|{a} x {b}|the product of {a} and {b}|{a} multiplied by {b}|the result of {a} * {b})(.|?| please.|)", "(Multiply|Take|Count) {a} (by|times) {b}(.| for me.| please.|)"]
HAVE = ["{n} (has|owns|bought|found|got|keeps|holds|counts|collected|made|starts with|brings|packed|picked|had|gathered) {a} {t}( in the {p}| at home| today|).",
        "There (are|were) {a} {t} (in|at|near) the {p}( of {n}|).", "(In the {p}|On the table|In the box|In the bag) (there are|there were|{n} has|{n} finds|{n} sees|lie) {a} {t}."]
GAIN = ["(Then|Later|Next|After that|The next day|Soon|Now) {n} (gets|finds|buys|wins|makes|picks|receives|brings|collects) {b} (more|others|new ones|more {t}).",
        "{m} (gives|brings|sends|hands|lends|sells) {n} {b} (more|others|new ones|more {t}).", "{b} (more|other|new) {t} (come|arrive|are added|are bought|are found|come in|are brought by {m})( later| then| today|).",
        "(Then|Later|Next|After that|The next day|Soon) {m} (adds|brings|puts in|comes with) {b} (more|others|{t}|new {t})."]
LOSE = ["(Then|Later|Next|After that|The next day|Soon|Now) {n} (loses|sells|eats|uses|breaks|drops|gives away|throws away|hides|sends away) {b}( of them| {t}|).",
        "{m} (takes|buys|steals|borrows|eats|gets|uses|carries away|breaks) {b}( of them| {t}|)( later| then| today|).", "{b} (of them|{t}) (are sold|are lost|are eaten|are broken|are given away|are used|fall down|go bad|are stolen|are taken by {m})( later| then| today|)."]
EACH = ["{n} (has|owns|bought|found|got|keeps|packs|brings|fills) {b} (boxes|bags|jars|baskets|bowls|packs) (with|of|that hold|that have) {a} {t}( each| in each one| in every one).",
        "(Each|Every) (box|bag|jar|basket|bowl|pack|shelf|row|child|friend) (has|holds|gets|needs) {a} {t}, and there are {b} of them.", "There are {b} (boxes|bags|jars|baskets|rows|shelves|packs) (with|of) {a} {t}( each| in each one)."]
NOW_Q = ["How many {t} (are there|does {n} have|is that|are left|remain|are there in total|are there in all|will there be|are we left with|can we count)( now| in the end| at the end|)?",
         "What is the (number|count|total number|final number) of {t}( now| in the end| at the end|)?", "(Tell me|Find|Count|Calculate|Say|Work out|I want to know) how many {t} there are( now| in the end| at the end|)."]

L = "(: |:\n)"
LISTS = {
    "sort": ["(Sort|Order|Arrange|Put|List|Write|Bring) (the {k}|these {k}|this list|the list|these items|my list|the items) (alphabetically|by the alphabet|from A to Z|in alphabetical order|by first letter)( please| for me|): {l}"],
    "up": ["(Sort|Order|Arrange|Put|List|Write) (the numbers|these numbers|this list|my numbers|them) (from small to large|from low to high|from smallest to largest|in ascending order|smallest first|lowest first|in rising order)( please| for me|): {l}"],
    "down": ["(Sort|Order|Arrange|Put|List|Write) (the numbers|these numbers|this list|my numbers|them) (from large to small|from high to low|from largest to smallest|in descending order|largest first|highest first|biggest first)( please| for me|): {l}"],
    "reverse": ["(Reverse|Turn around|Flip|Turn back) (the list|this list|these {k}|the {k}|my list|the items|the order of these {k}|the order of the items)( please| for me|): {l}",
                "(Write|Say|List|Give|Show|Put|Print|Read) (the list|this list|these {k}|the {k}|my list|the items|them) (backwards|in reverse|in reverse order|from last to first|from the end|from back to front)( please| for me|): {l}"],
    "count": ["(Count|Add up|Number off) (the {k}|these {k}|the items|all items|the entries|all the {k})( in this list| in the list| here| please|): {l}",
              "(How many|Tell me how many|Say how many|Do you see how many|I want to know how many|Count how many) ({k}|items|entries|things) (are there|are here|are in the list|are in this list|there are|I have|we have|are listed): {l}",
              "(What is|Tell me|Give me|Say|Find) the (number|count) of ({k}|items|entries)( in this list| in the list| here| please|): {l}"],
    "pick": ["(Give me|Tell me|Say|Name|Pick|Show|Take|Find|Choose|Write|Read|Print|Return) (the {o} item|the {o} one|the {o} entry|the {o} of these {k}|the {o} of them)( in this list| of the list| here| please|): {l}",
             "(What is|Which is|Which one is) (the {o} item|the {o} one|the {o} entry|the {o} of these {k}|the {o} of them)( in this list| of the list| here|): {l}"],
    "max": ["(Give me|Tell me|Say|Name|Pick|Show|Take|Find|Choose|Write|What is|Which is) (the largest|the biggest|the highest|the greatest) (number|one|of them|of these|value)( in this list| of the list| here| please|): {l}"],
    "min": ["(Give me|Tell me|Say|Name|Pick|Show|Take|Find|Choose|Write|What is|Which is) (the smallest|the lowest|the least) (number|one|of them|of these|value)( in this list| of the list| here| please|): {l}"],
    "remove": ["(Remove|Delete|Drop|Take out|Leave out|Cross out|Strike|Erase|Cut|Kill) (the word|the item|the entry|) {x}( from this list| from the list| here| please| from these {k}|): {l}", "(Write|Say|Give|Show|Print) (the list|this list|the {k}|these {k}|the items) without {x}( please|): {l}"],
    "add": ["(Add|Append|Attach|Put) (the word|the item|the entry|) {x} (to this list|to the list|at the end|to the end|to these {k}|as the last item)( please|): {l}", "(Write|Say|Give|Show|Print) (the list|this list|the {k}|these {k}|the items) (with|plus|and) {x} (at the end|added|as the last item)( please|): {l}"],
    "replace": ["(Replace|Swap|Exchange|Substitute) (the word|the item|) {x} (by|with|for) {y}( in this list| in the list| here| please|): {l}", "(Put|Write|Use|Set|Take) {y} (in place of|instead of|for) {x}( in this list| in the list| here| please|): {l}", "(Change|Turn|Rename) {x} (to|into) {y}( in this list| in the list| here| please|): {l}"],
    "bullets": ["(Write|Show|Give|Print|Format|Rewrite|Put|Display|List) (the list|this list|these {k}|the {k}|the items|this) (as bullets|as bullet points|as a bullet list|with dashes|line by line with dashes|in bullet form)( please| for me|): {l}", "(Make|Create|Build|Give me|Write) (bullets|bullet points|a bullet list) (of|from|with|for) (this|these {k}|the list|the {k}|the items): {l}"],
    "numbered": ["(Write|Show|Give|Print|Format|Rewrite|Put|Display|List) (the list|this list|these {k}|the {k}|the items|this) (with numbers|as a numbered list|numbered|in numbered form|with a number each)( please| for me|): {l}", "(Make|Create|Build|Give me|Write) (a numbered list|numbered lines|a list with numbers) (of|from|with|for) (this|these {k}|the list|the {k}|the items): {l}"],
    "sentence": ["(Join|Link|Connect|Combine|Put together|Write) (the items|these {k}|the {k}|the list|this list|the words) (with commas and and|with the word and at the end|with and before the last one|in one line with and at the end)( please| for me|): {l}"],
}
REQ_OPEN = "(Please|Hi|Hello|Hey|OK|Well|Good day|Hello there|Now|Listen|A request|My request|One request|A task|A job for you|Help me|I need help|Quick|Next|Then|Also|First|Excuse me|Sorry to ask|If you can|When you can|Be so kind|Can you help|Could you help me|One more thing|Something else|Here is what I need|I have a wish|A wish|This is for you)(. |: |! |, | - )"
REQ_CLOSE = "( Thanks| Please| Thank you| Thanks a lot| Many thanks| Do it now| It is important| As soon as you can| That would be nice| I need it today| That is all| Thank you so much| I am waiting| Take your time| It is for a friend| I would be happy)(.|!)"
TALK_OPEN = "(Hello|Hi|Hey|Well|OK|So|Please|Now|Listen|A question|One question|Quick question|A quick question|Tell me|Excuse me|Sorry|I wonder|I want to ask|Let me ask|Say|By the way|Just asking|I have a question|Something else|Next question|My question|Here is a question)(. |: |! |, )"
LIST_OPEN = "(Hello|Hi|Hey|Well|OK|So|Please|Now|A task|One task|List task|A list|Next|Help me|A job for you|Quick|My list task|I need help|Something for you|Let us work on a list|Try this|Do this|Here is a task|Can you help)(. |: |! )"
SUM_OPEN = "(Hello|Hi|Hey|Well|OK|So|Please|Now|A sum|One sum|Math|A problem|Next|Help me|A job for you|Quick|My math task|I need help|Something for you|Let us count|Try this|Do this|Here is a problem|Can you help)(. |: |! )"
INTRO = ["(Hi|Hello|Hey|Good day|Hello there|Hi there|Hey there|Hello Pebble|Hi Pebble)(, |! |. )(I am|I'm|my name is|it is|they call me|people call me|you can call me|this is) {n}( here|)(.|!)", "(I am|I'm|My name is|They call me|People call me|You can call me|This is) {n}(.|!|, hello.|, hi!|. Nice to meet you.|. How are you?)"]
KEYED = ["(The|Their|Its|This|That|One) {k} (is|was|will be|should be|must be|is now|has been|is given as|is noted as|reads) {v}.", "(For|As|Under) (the|) {k} (I|we|they|you) (have|wrote|got|put|noted|take|saw|read) {v}.",
         "(I|We|They) (wrote|noted|put|set|gave|chose) {v} (as|for) the {k}.", "{v} is (the|their|its|our) {k}.", "(About the|On the|Now the|Also the|Then the) {k}: {v}."]
INTENTS = {
    "name": ["(What is|Tell me|Give me|Say|May I know|I want to know|Can you tell me|What was|Please say) your name( please| again| now|)(.|?)", "Who (are you|is this|am I talking to|am I speaking with|is there|do I have here)( please| then| really| now|)?",
             "What (are you called|do they call you|do I call you|do you call yourself|is the name of this assistant|do people say to you)( please| then| really| here|)?"],
    "kind": ["(Are you|Am I talking to|Is this|Do I talk to|Do I speak with) (a human|a person|a robot|a machine|a real human|a program|an AI|a bot|a living thing|a man|a woman|a computer)( or not| or what| really| here|)?",
             "What (are you|kind of thing are you|kind of being are you|sort of machine are you|sort of program are you)( really| exactly| then|)?"],
    "maker": ["(Who|What team|What group|Which company|Which people) (made|built|created|trained|wrote|designed|developed|programmed) you( first| really| then| exactly|)?",
              "(Tell me|Say|I want to know|Do you know|Can you tell me) who (made|built|created|trained|wrote|designed|developed|programmed) you(.|?)"],
    "other": ["(Are you|Is this|Is your name|Am I talking to|You are called|Do they call you) (ChatGPT|GPT|Siri|Alexa|Claude|Gemini|Bard|Llama|Cortana|Bixby|Watson)( or not| then| really|)?",
              "(Were you made by|Are you made by|Are you from|Were you trained by|Do you belong to) (Google|OpenAI|Microsoft|Apple|Meta|Amazon|IBM)( or not| then| really|)?"],
    "can": ["(What|Which things) can (you do|you do for me|you help with|I ask you|I use you for|you be used for|you offer|you answer)( here| today| exactly| then|)?",
            "(Tell me|Say|I want to know|Show me|List) what you (can do|can do for me|are able to do|can help with|offer|are good at)."],
    "where": ["Where (are you running|do you run|do you live|are you|are you hosted|do you work|is your home|do you stay|is your server)( now| exactly| really| then|)?", "(Tell me|Say|I want to know|Do you know) where you (run|live|are|are hosted|work)(.|?)",
              "(What|Which) (computer|machine|server|hardware|system) (do you run on|are you on|do you use|do you work on|do you live on)( now| exactly| really|)?"],
    "size": ["How (big|large|small|heavy) (are you|is your model|is your brain|is your network)( really| exactly| then| now|)?", "How many (parameters|weights|numbers) (do you have|are in you|have you got|does your model have)( really| exactly| then|)?",
             "Are you (big|large|small|tiny|huge|a small model|a big model|a tiny model|a huge model)( really| or not| then|)?"],
    "hello": ["(Hello|Hi|Hey|Greetings|Hello there|Hi there|Hey there)( Pebble| my friend| again| to you| and good day| dear Pebble| little one|)(.|!)"],
    "morning": ["(Good morning|A good morning|Have a good morning|I wish you a good morning|Very good morning)( Pebble| to you| my friend| dear Pebble| everyone|)(.|!)"],
    "evening": ["(Good evening|A good evening|Have a good evening|I wish you a good evening|Very good evening)( Pebble| to you| my friend| dear Pebble| everyone|)(.|!)"],
    "how": ["(How are you|How are you doing|How is it going|How do you feel|How is your day|How are things|Are you well|Are you fine|Is all well|How goes it)( today| now| my friend| Pebble| this morning| this evening|)?"],
    "thanks": ["(Thank you|Thanks|Many thanks|Thank you so much|Thanks so much|I thank you)( for this| for the help| for your time| for your answer| a lot| again| indeed| for all|)( Pebble|)(.|!)"],
    "bye": ["(Bye|Goodbye|Good bye|See you|Good night|Farewell|Bye bye|See you soon)( then| now| Pebble| my friend| for today| and thanks| and take care|)(.|!)"],
    "feel": ["(Do you|Can you|Do you ever) (feel|sleep|eat|dream|get tired|get hungry|feel pain|feel joy|love|cry|laugh|feel sad|rest|get bored|feel alone)( sometimes| too| at night| as well|)?"],
    "age": ["(How old are you|What is your age|When were you made|When were you born|When is your birthday|Are you old|Are you young|Do you have an age|Do you have a birthday|How many years do you have)( really| exactly| then| now| today|)?"],
    "lang": ["(Do you|Can you|Could you) (speak|understand|read|write|know|use|talk in) (English|French|German|Spanish|Italian|Chinese|Greek|other languages|another language|Latin)( too| well| with me| or not|)?"],
    "web": ["(Can you|Could you|Are you able to) (search the web|browse the web|go online|use the internet|open a web site|read the news online|look up things online|visit a web page|read web pages)( for me| now| too|)?"],
}
FRAMES = ["(Can|Could|Would|Will) you (please|kindly|now|quickly|just|) {vp}( for me| now| today|)?", "(I want|I need|I would like|I ask|I beg|We want|We need|I wish) (you to|that you) {vp}( for me| now| today|).",
          "(It would be nice|It would be great|I would be glad|It would help me) if you could {vp}( for me| now| today|).", "(Please|Now|Kindly|Just|Go and|Do|Go ahead and|Be so good and|Let us|Let me|Try to|I want to|We have to|I must|I need to) {vp}( for me| now| today|)."]
