"""Lower-case WordPiece: what a retrieval query and a passage have in common should be the same ids."""
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

SIZE = 16384
PAD, UNK = "[PAD]", "[UNK]"


def train(texts):
    """A tokenizer from an iterable of texts; id 0 pads, id 1 is the unknown word. No token is put around a text."""
    tok = Tokenizer(models.WordPiece(unk_token=UNK, max_input_chars_per_word=64))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=[PAD, UNK], limit_alphabet=160, show_progress=False))
    return tok
