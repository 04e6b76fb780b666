import { PmpoError } from '../../core/errors.js';
import { bytesPerTransition, type TransitionShape } from '../../replay/transition-shape.js';
import type { ControlLearnerConfig } from './config.js';

/** The share of the memory that a replay may take. */
const largestShare = 0.85;

/** Bytes as people read them. */
function bytesText(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${Number((bytes / 1000 ** unit).toPrecision(3))} ${units[unit]}`;
}

/**
 * The memory that the replay of a run takes when it is full, in words.
 * @param memory the bytes of memory of the machine.
 * @throws PmpoError if the machine has less, with the capacity that fits.
 */
export function replayMemory(
  { replay, learner }: Pick<ControlLearnerConfig, 'replay' | 'learner'>,
  shape: TransitionShape & { readonly actionRepeat: number },
  memory: number,
): string {
  const each = bytesPerTransition(shape);
  // A run stores no more transitions than it takes actions, and no fewer than a full replay holds.
  const most = Math.min(replay.capacity, Math.ceil(learner.environmentSteps / shape.actionRepeat));
  const text = `${most.toLocaleString('en-US')} transitions of ${bytesText(each)} are ${bytesText(most * each)}`;
  if (most * each <= largestShare * memory) return `Replay memory when full: ${text}`;
  const fitting = Number(Math.floor((largestShare * memory) / each).toPrecision(2));
  const capacity = fitting * each > largestShare * memory ? Math.floor(fitting * 0.95) : fitting;
  throw new PmpoError({
    where: 'replay.capacity',
    what: `${text}, and this machine has ${bytesText(memory)} of memory`,
    remedy: `Set it to ${capacity} or less`,
  });
}
