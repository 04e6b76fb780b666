import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LossNotices } from './loss-notices.js';

const reason = 'h:1: the connection was lost.';

function make() {
  const lines: string[] = [];
  return { lines, losses: new LossNotices((line) => lines.push(line)) };
}

describe('losses of a server', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('are one line for all environments that lose it within a moment, and so are their returns', () => {
    const { lines, losses } = make();
    for (const k of [3, 0, 11]) losses.lost(k, reason);
    expect(lines).toEqual([]);
    vi.runAllTimers();
    expect(lines).toEqual([`environments 0, 3, 11: ${reason} Reconnecting`]);
    for (const k of [11, 3]) losses.back(k);
    vi.runAllTimers();
    losses.back(0);
    vi.runAllTimers();
    expect(lines.slice(1)).toEqual([
      'environments 3, 11: connected again, with a fresh episode',
      'environment 0: connected again, with a fresh episode',
    ]);
  });

  it('that happen later, or for another reason, are said by themselves', () => {
    const { lines, losses } = make();
    losses.lost(0, reason);
    losses.lost(1, 'h:2: no answer.');
    vi.runAllTimers();
    losses.lost(2, reason);
    vi.runAllTimers();
    expect(lines).toEqual([
      `environment 0: ${reason} Reconnecting`,
      'environment 1: h:2: no answer. Reconnecting',
      `environment 2: ${reason} Reconnecting`,
    ]);
  });

  it('keep their order where an environment is lost twice within a moment', () => {
    const { lines, losses } = make();
    losses.lost(0, reason);
    losses.back(0);
    losses.lost(0, reason);
    losses.lost(1, reason);
    vi.runAllTimers();
    expect(lines).toEqual([
      `environments 0, 1: ${reason} Reconnecting`,
      'environment 0: connected again, with a fresh episode',
      `environment 0: ${reason} Reconnecting`,
    ]);
  });

  it('are said at once when they are flushed', () => {
    const { lines, losses } = make();
    losses.lost(0, reason);
    losses.flush();
    expect(lines).toEqual([`environment 0: ${reason} Reconnecting`]);
    losses.flush();
    vi.runAllTimers();
    expect(lines).toHaveLength(1);
  });
});
