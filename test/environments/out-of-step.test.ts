import { afterEach, describe, expect, it } from 'vitest';
import { ConnectionLostError } from '../../src/core/errors.js';
import {
  createVectorEnvironment,
  type VectorEnvironmentOptions,
} from '../../src/environments/create-vector-environment.js';
import type { Environment } from '../../src/environments/environment.js';
import type { VectorEnvironment } from '../../src/environments/vector-environment.js';
import { countingWorld } from '../support/counting-world.js';

/** Worlds that need not wait for each other (`lockstep: false`). */

const opened: VectorEnvironment[] = [];
afterEach(async () => {
  for (const worlds of opened.splice(0)) await worlds.close();
});

/** A world whose steps take until they are let go, or lose the connection. */
function held(length = 5) {
  const world = countingWorld({ length });
  let gate = Promise.resolve();
  let open = () => {};
  let fate: Error | undefined;
  return {
    hold() {
      gate = new Promise((resolve) => {
        open = resolve;
      });
    },
    go(error?: Error) {
      fate = error;
      open();
    },
    environment: {
      ...world,
      async step(action) {
        await gate;
        if (fate !== undefined) throw fate;
        return world.step(action);
      },
    } satisfies Environment,
  };
}

async function make(
  connect: VectorEnvironmentOptions['connect'],
  more: Partial<VectorEnvironmentOptions> = {},
): Promise<VectorEnvironment> {
  const worlds = await createVectorEnvironment({
    connect,
    numEnvs: 4,
    lockstep: false,
    episodeSeed: (world, episode) => 100 * world + episode,
    reconnect: { attempts: 3, initialDelaySeconds: 0.01, maxDelaySeconds: 0.01 },
    notice: () => {},
    ...more,
  });
  opened.push(worlds);
  return worlds;
}

const actions = (value: number) => new Float32Array(4).fill(value);
/** Lets timers and sockets have their turn: these worlds answer at once. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 1));
const lost = () => new ConnectionLostError({ where: 'nowhere', what: 'the connection was lost' });
/** What world k shows: the seed of its episode, the steps of it, the sum of its actions. */
const shown = (observations: Float32Array, k: number) => [...observations.subarray(3 * k, 3 * k + 3)];

describe('a slow world', () => {
  it('does not hold back the others, and gets the action that was chosen for it', async () => {
    const slow = held();
    const worlds = await make(async (k) => (k === 1 ? slow.environment : countingWorld()));
    await worlds.reset();
    slow.hold();
    for (const [t, value] of [0.5, 0.25, 0.125].entries()) {
      const step = await worlds.step(actions(value));
      expect([...step.ready]).toEqual([1, 0, 1, 1]);
      expect(shown(step.observations, 0)[1]).toBe(t + 1);
    }
    slow.go();
    const step = await worlds.step(actions(1));
    // Half is enough, and one of them may be the slow one.
    const late = step.ready[1] === 1 ? step : await worlds.step(actions(1));
    expect(late.ready[1]).toBe(1);
    expect(late.actions[1]).toBe(0.5);
    expect(shown(late.observations, 1)).toEqual([100, 1, 0.5]);
  });

  it('is waited for when most are slow', async () => {
    const slow = [held(), held(), held()];
    const worlds = await make(async (k) => slow[k]?.environment ?? countingWorld());
    await worlds.reset();
    for (const world of slow) world.hold();
    let returned = false;
    const stepping = worlds.step(actions(0)).then((step) => {
      returned = true;
      return step;
    });
    await pause();
    expect(returned).toBe(false);
    slow[2].go();
    expect([...(await stepping).ready]).toEqual([0, 0, 1, 1]);
    for (const world of slow) world.go();
  });

  it('has its episode as the caller has seen it, whatever is under way', async () => {
    const slow = held(2);
    const worlds = await make(async (k) => (k === 1 ? slow : held()).environment);
    const first = await worlds.reset();
    expect(shown(first, 1)).toEqual([100, 0, 0]);
    await worlds.step(actions(0.5));
    slow.hold();
    await worlds.step(actions(0.25));
    const seen = { episode: 0, seed: 100, actions: Float32Array.of(0.5) };
    expect(worlds.state()[1]).toEqual(seen);
    // The step that ends its episode has been taken there, and another begun: nobody has been told.
    slow.go();
    await pause();
    expect(worlds.state()[1]).toEqual(seen);
    const again = await make(async () => countingWorld());
    const back = await again.restore(worlds.state());
    expect(shown(back, 1)).toEqual([100, 1, 0.5]);
    const step = await worlds.step(actions(0));
    expect([...step.ready]).toEqual([1, 1, 1, 1]);
    expect([...step.truncated]).toEqual([0, 1, 0, 0]);
    expect(shown(step.finalObservations, 1)).toEqual([100, 2, 0.75]);
    expect(shown(step.observations, 1)).toEqual([101, 0, 0]);
  });

  it('is waited for when all begin again', async () => {
    const slow = held();
    const worlds = await make(async (k) => (k === 1 ? slow : held()).environment);
    await worlds.reset();
    slow.hold();
    await worlds.step(actions(1));
    const resetting = worlds.reset();
    slow.go();
    expect(shown(await resetting, 1)).toEqual([100, 0, 0]);
    expect([...(await worlds.step(actions(0.5))).actions]).toEqual([0.5, 0.5, 0.5, 0.5]);
  });
});

describe('a lost world', () => {
  it('comes back with a fresh episode, while the others go on', async () => {
    const slow = held();
    let connections = 0;
    const worlds = await make(async (k) => {
      if (k !== 1) return countingWorld();
      connections += 1;
      return connections === 1 ? slow.environment : countingWorld();
    });
    await worlds.reset();
    slow.hold();
    expect((await worlds.step(actions(0.5))).ready[1]).toBe(0);
    slow.go(lost());
    let step = await worlds.step(actions(0.5));
    while (step.ready[1] === 0) {
      await pause();
      step = await worlds.step(actions(0.5));
    }
    expect(step.lost[1]).toBe(1);
    expect(shown(step.observations, 1)).toEqual([101, 0, 0]);
    expect(connections).toBe(2);
  });

  it('that stays away ends the run, after the steps under way', async () => {
    const slow = held();
    let connections = 0;
    const worlds = await make(async (k) => {
      if (k === 1 && connections++ > 0) throw lost();
      return k === 1 ? slow.environment : countingWorld();
    });
    await worlds.reset();
    slow.go(lost());
    const going = (async () => {
      for (let t = 0; t < 1000; t++) {
        await worlds.step(actions(0));
        await pause();
      }
    })();
    await expect(going).rejects.toThrow(/3 attempts to reconnect failed/);
  });

  it('is not waited for when all is closed', async () => {
    const slow = held();
    let connections = 0;
    const closed: number[] = [];
    const worlds = await make(
      async (k, signal) => {
        if (k !== 1 || connections++ === 0)
          return k === 1 ? slow.environment : countingWorld({ onClose: () => closed.push(k) });
        return new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(lost()));
        });
      },
      { reconnect: { attempts: 1000, initialDelaySeconds: 0, maxDelaySeconds: 3600 } },
    );
    await worlds.reset();
    slow.go(lost());
    while (connections < 2) {
      await worlds.step(actions(0));
      await pause();
    }
    await worlds.close();
    await expect(worlds.step(actions(0))).rejects.toBeInstanceOf(ConnectionLostError);
    expect(closed).toEqual([0, 2, 3]);
  });
});
