// `npm run build`: installs what is missing, and compiles src/ into dist/. npm also runs it after installing the package from git
// (`prepare`), when the dependencies are there and package-lock.json is not to be consulted.

import { build, ensureInstalled } from './bootstrap.mjs';

if (process.env.npm_lifecycle_event !== 'prepare') await ensureInstalled();
build();
