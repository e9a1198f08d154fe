import { render } from 'preact';
import { createStorage } from '../storage.ts';
import '../style/base.css';
import { Page } from './Page.tsx';
import './npu.css';

const storage = createStorage(localStorage, sessionStorage);
const { theme } = storage.settings();
if (theme !== 'auto') document.documentElement.dataset.theme = theme;
render(<Page apiKey={storage.key()} />, document.querySelector('#app') as HTMLElement);
