// `npm run build`: compiles src/ into dist/.

import { build } from './bootstrap.mjs';

build();
