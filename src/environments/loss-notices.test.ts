import { describe, expect, it } from 'vitest';
import { LossNotices } from './loss-notices.js';

const reason = 'h:1: the connection was lost.';

function make() {
  const lines: string[] = [];
  return { lines, losses: new LossNotices((line) => lines.push(line)) };
}

describe('losses of a server', () => {
  it('are one line, and one more when the last environment is back', () => {
    const { lines, losses } = make();
    for (const k of [3, 0, 11]) losses.lost(k, reason);
    expect(lines).toEqual([`environment 3: ${reason} Reconnecting`]);
    losses.ended(11, reason, true);
    losses.ended(3, reason, true);
    expect(lines).toHaveLength(1);
    losses.ended(0, reason, true);
    expect(lines.slice(1)).toEqual(['environments 0, 3, 11: connected again; each starts a fresh episode']);
  });

  it('of one environment name it', () => {
    const { lines, losses } = make();
    losses.lost(2, reason);
    losses.ended(2, reason, true);
    expect(lines).toEqual([
      `environment 2: ${reason} Reconnecting`,
      'environment 2: connected again; it starts a fresh episode',
    ]);
  });

  it('that happen after others are back, or for another reason, are said anew', () => {
    const { lines, losses } = make();
    losses.lost(0, reason);
    losses.lost(1, reason);
    losses.lost(2, 'h:2: no answer.');
    losses.ended(0, reason, true);
    losses.lost(0, reason);
    expect(lines).toEqual([
      `environment 0: ${reason} Reconnecting`,
      'environment 2: h:2: no answer. Reconnecting',
      `environment 0: ${reason} Reconnecting`,
    ]);
    losses.ended(0, reason, true);
    losses.ended(1, reason, true);
    expect(lines.at(-1)).toBe('environments 0, 1: connected again; each starts a fresh episode');
  });

  it('of environments that are given up end without a line', () => {
    const { lines, losses } = make();
    losses.lost(0, reason);
    losses.lost(1, reason);
    losses.ended(0, reason, false);
    losses.ended(1, reason, true);
    expect(lines.slice(1)).toEqual(['environment 1: connected again; it starts a fresh episode']);
  });
});
