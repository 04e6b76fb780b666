import { join } from 'node:path';
import { PmpoError } from '../core/errors.js';

/** The models that a language run saves beside its checkpoints, in slots that are reused in turn. */
export interface ModelSlots {
  /** The name of the model of checkpoint number `index`. The model that it overwrites belongs to a checkpoint that has been deleted. */
  modelName(index: number): string;
  /** The folder of a model. @throws PmpoError if a checkpoint gives a name that is not one of a slot. */
  modelFolder(name: string): string;
}

/** A slot, and a folder of a remote trainer that holds slots. */
const slotName = /^slot-\d+$/;
const remoteSlotName = /^[^/\\]+\/slot-\d+$/;

/**
 * @param keep the checkpoints that are kept.
 * @param place the folder for models on this machine, or the name of the run's folder within that of a remote trainer.
 */
export function modelSlots(
  keep: number,
  place: { readonly local: string } | { readonly remote: string },
): ModelSlots {
  const isLocal = 'local' in place;
  return {
    modelName: (index) => {
      const slot = `slot-${index % (keep + 1)}`;
      return isLocal ? slot : `${place.remote}/${slot}`;
    },
    modelFolder: (name) => {
      const pattern = isLocal ? slotName : remoteSlotName;
      if (typeof name !== 'string' || !pattern.test(name) || name.startsWith('.')) {
        throw new PmpoError({
          where: 'checkpoint',
          what: `the name of its model is ${JSON.stringify(name)}, which is not one that a run gives`,
        });
      }
      return isLocal ? join(place.local, name) : name;
    },
  };
}
