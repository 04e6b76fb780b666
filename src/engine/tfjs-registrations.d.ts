// Declares the methods of tensors (`x.add(y)`) that tfjs-registrations.js adds.
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
