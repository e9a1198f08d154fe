/** The header of a replica's answers that says how long its prompts may be: tokens, and the most UTF-16 units that one stands for. For the Worker alone. */
export const PROMPT_ROOM = 'x-turnstone-prompt-room';
