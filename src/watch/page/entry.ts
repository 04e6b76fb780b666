import { watch } from './watch.js';

void watch();
