// `npm start` and its like in one process, so that a signal for it needs nobody to pass it on: what is missing is installed and compiled, then the command line runs.
import './ensure.mjs';

const { compile } = await import('./compile.mjs');
compile();
await import('../bin/index.js');
