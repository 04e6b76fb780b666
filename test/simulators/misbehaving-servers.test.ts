import { describe, expect, it } from 'vitest';
import { PmpoError } from '../../src/core/errors.js';
import { play, type Way } from './misbehaving-server.js';
import { joining } from './ways/joining.js';
import { order } from './ways/order.js';
import { steps } from './ways/steps.js';

const ways: Record<string, Way> = { ...joining, ...steps, ...order };

describe('a server that misbehaves: no wrong transition, no hang, one line', () => {
  it('has more than 40 ways to', () => {
    expect(Object.keys(ways).length).toBeGreaterThan(40);
  });

  it('teaches everything when it does not', async () => {
    const usual: Way = { at: 'step', send: () => undefined, says: /./ };
    expect(await play(usual)).toMatchObject({ error: undefined, notices: [], transitions: 60, lost: 0 });
  });

  it.each(Object.entries(ways))('%s', async (_name, way) => {
    const before = process.memoryUsage().rss;
    const { error, notices, transitions, lost, seconds } = await play(way);
    const said = error === undefined ? notices : [...notices, (error as Error).message];
    for (const line of said) {
      expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      expect(line.length).toBeLessThan(1200);
    }
    if (way.goesOn) {
      expect(error).toBeUndefined();
      expect(notices[0]).toMatch(way.says);
      expect(lost).toBeGreaterThan(0);
      expect(transitions + lost).toBe(60);
    } else {
      expect(error).toBeInstanceOf(PmpoError);
      expect((error as Error).message).toMatch(way.says);
    }
    // Silence lasts for a deadline in each of three attempts.
    expect(seconds).toBeLessThan(15);
    expect(process.memoryUsage().rss - before).toBeLessThan(500 * 2 ** 20);
  });
});
