// Writes examples/pmpo.schema.json, the JSON Schema that the first line of each example names. Part of `npm run generate`.

import { writeFileSync } from 'node:fs';
import { ensureBuilt, root } from './bootstrap.mjs';

ensureBuilt();
const { createCatalogue } = await import('../dist/config/catalogue.js');
const { jsonSchema } = await import('../dist/config/job-kinds.js');
writeFileSync(`${root}/examples/pmpo.schema.json`, `${JSON.stringify(jsonSchema(createCatalogue()))}\n`);
