import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { modelSlots } from './model-slots.js';

describe('the models beside the checkpoints of a language run', () => {
  it('take turns in one slot more than there are checkpoints', () => {
    const { modelName, modelFolder } = modelSlots(2, { local: '/run/models' });
    expect([1, 2, 3, 4].map(modelName)).toEqual(['slot-1', 'slot-2', 'slot-0', 'slot-1']);
    expect(modelFolder('slot-1')).toBe(join('/run/models', 'slot-1'));
  });

  it('have the name of the run in the folder of a remote trainer, also after the run was moved', () => {
    const { modelName, modelFolder } = modelSlots(1, { remote: 'r-0123abcd' });
    expect(modelName(3)).toBe('r-0123abcd/slot-1');
    expect(modelFolder('earlier-4567cdef/slot-0')).toBe('earlier-4567cdef/slot-0');
  });

  it.each(['../slot-1', '/etc', 'slot-1/../..', '..', 'slot-', '', 7, undefined])(
    'are not found by the name %j',
    (name) => {
      for (const place of [{ local: 'here' }, { remote: 'there' }]) {
        expect(() => modelSlots(2, place).modelFolder(name as string)).toThrow(
          /checkpoint: the name of its model is .*, which is not one that a run gives/,
        );
      }
    },
  );
});
