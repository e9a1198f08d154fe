// `npm start` and its like in one process, so that a signal for it needs nobody to pass it on: what is missing is installed, then the command line runs.
import './ensure.mjs';

const { register } = await import('tsx/esm/api');
register();
await import('../cli/index.ts');
