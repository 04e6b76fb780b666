import { afterEach, describe, expect, it } from 'vitest';
import { ConnectionLostError } from '../../src/core/errors.js';
import {
  createVectorEnvironment,
  type VectorEnvironmentOptions,
} from '../../src/environments/create-vector-environment.js';
import type { Environment } from '../../src/environments/environment.js';
import type { VectorEnvironment } from '../../src/environments/vector-environment.js';
import { countingEnvironment } from '../support/counting-environment.js';

/** Vector environments without lockstep. */

const opened: VectorEnvironment[] = [];
afterEach(async () => {
  for (const vector of opened.splice(0)) await vector.close();
});

/** An environment whose steps wait for `go`, and may then lose the connection. */
function held(length = 5) {
  const inner = countingEnvironment({ length });
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
      ...inner,
      async step(action) {
        await gate;
        if (fate !== undefined) throw fate;
        return inner.step(action);
      },
    } satisfies Environment,
  };
}

async function make(
  connect: VectorEnvironmentOptions['connect'],
  more: Partial<VectorEnvironmentOptions> = {},
): Promise<VectorEnvironment> {
  const vector = await createVectorEnvironment({
    connect,
    numEnvs: 4,
    lockstep: false,
    episodeSeed: (k, episode) => 100 * k + episode,
    reconnect: { attempts: 3, initialDelaySeconds: 0.01, maxDelaySeconds: 0.01 },
    notice: () => {},
    ...more,
  });
  opened.push(vector);
  return vector;
}

const actions = (value: number) => new Float32Array(4).fill(value);
/** Gives timers and sockets a turn; these environments answer at once. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 1));
const lost = () => new ConnectionLostError({ where: 'nowhere', what: 'the connection was lost' });
/** The observation of environment k: the seed of its episode, its steps, and the sum of its actions. */
const shown = (observations: Float32Array, k: number) => [...observations.subarray(3 * k, 3 * k + 3)];

describe('a slow environment', () => {
  it('does not hold back the others, and keeps the action that was chosen for it', async () => {
    const slow = held();
    const vector = await make(async (k) => (k === 1 ? slow.environment : countingEnvironment()));
    await vector.reset();
    slow.hold();
    for (const [t, value] of [0.5, 0.25, 0.125].entries()) {
      const step = await vector.step(actions(value));
      expect([...step.ready]).toEqual([1, 0, 1, 1]);
      expect(shown(step.currentObservations, 0)[1]).toBe(t + 1);
    }
    slow.go();
    const step = await vector.step(actions(1));
    // Half of the environments are enough, and the slow one may be among them.
    const late = step.ready[1] === 1 ? step : await vector.step(actions(1));
    expect(late.ready[1]).toBe(1);
    expect(late.actions[1]).toBe(0.5);
    expect(shown(late.currentObservations, 1)).toEqual([100, 1, 0.5]);
  });

  it('is waited for when most are slow', async () => {
    const slow = [held(), held(), held()];
    const vector = await make(async (k) => slow[k]?.environment ?? countingEnvironment());
    await vector.reset();
    for (const one of slow) one.hold();
    let returned = false;
    const stepping = vector.step(actions(0)).then((step) => {
      returned = true;
      return step;
    });
    await pause();
    expect(returned).toBe(false);
    slow[2].go();
    expect([...(await stepping).ready]).toEqual([0, 0, 1, 1]);
    for (const one of slow) one.go();
  });

  it('has the episode that the caller knows, even if a step is pending', async () => {
    const slow = held(2);
    const vector = await make(async (k) => (k === 1 ? slow : held()).environment);
    const first = await vector.reset();
    expect(shown(first.observations, 1)).toEqual([100, 0, 0]);
    await vector.step(actions(0.5));
    slow.hold();
    await vector.step(actions(0.25));
    const seen = { episode: 0, seed: 100, actions: Float32Array.of(0.5) };
    expect(vector.state()[1]).toEqual(seen);
    // The step that ends its episode has been taken, and another episode has begun, but no call has returned it.
    slow.go();
    await pause();
    expect(vector.state()[1]).toEqual(seen);
    const again = await make(async () => countingEnvironment());
    const back = await again.restore(vector.state());
    expect(shown(back, 1)).toEqual([100, 1, 0.5]);
    const step = await vector.step(actions(0));
    expect([...step.ready]).toEqual([1, 1, 1, 1]);
    expect([...step.truncated]).toEqual([0, 1, 0, 0]);
    expect(shown(step.nextObservations, 1)).toEqual([100, 2, 0.75]);
    expect(shown(step.currentObservations, 1)).toEqual([101, 0, 0]);
  });

  it('is waited for by a reset', async () => {
    const slow = held();
    const vector = await make(async (k) => (k === 1 ? slow : held()).environment);
    await vector.reset();
    slow.hold();
    await vector.step(actions(1));
    const resetting = vector.reset();
    slow.go();
    expect(shown((await resetting).observations, 1)).toEqual([100, 0, 0]);
    expect([...(await vector.step(actions(0.5))).actions]).toEqual([0.5, 0.5, 0.5, 0.5]);
  });
});

describe('a lost environment', () => {
  it('comes back with a fresh episode, while the others continue', async () => {
    const slow = held();
    let connections = 0;
    const vector = await make(async (k) => {
      if (k !== 1) return countingEnvironment();
      connections += 1;
      return connections === 1 ? slow.environment : countingEnvironment();
    });
    await vector.reset();
    slow.hold();
    expect((await vector.step(actions(0.5))).ready[1]).toBe(0);
    slow.go(lost());
    let step = await vector.step(actions(0.5));
    while (step.ready[1] === 0) {
      await pause();
      step = await vector.step(actions(0.5));
    }
    expect(step.lost[1]).toBe(1);
    expect(shown(step.currentObservations, 1)).toEqual([101, 0, 0]);
    expect(connections).toBe(2);
  });

  it('that does not come back is an error, after the pending steps', async () => {
    const slow = held();
    let connections = 0;
    const vector = await make(async (k) => {
      if (k === 1 && connections++ > 0) throw lost();
      return k === 1 ? slow.environment : countingEnvironment();
    });
    await vector.reset();
    slow.go(lost());
    const going = (async () => {
      for (let t = 0; t < 1000; t++) {
        await vector.step(actions(0));
        await pause();
      }
    })();
    await expect(going).rejects.toThrow(/3 attempts to reconnect failed/);
  });

  it('is not waited for by close', async () => {
    const slow = held();
    let connections = 0;
    const closed: number[] = [];
    const vector = await make(
      async (k, signal) => {
        if (k !== 1 || connections++ === 0)
          return k === 1 ? slow.environment : countingEnvironment({ onClose: () => closed.push(k) });
        return new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(lost()));
        });
      },
      { reconnect: { attempts: 1000, initialDelaySeconds: 0, maxDelaySeconds: 3600 } },
    );
    await vector.reset();
    slow.go(lost());
    while (connections < 2) {
      await vector.step(actions(0));
      await pause();
    }
    await vector.close();
    await expect(vector.step(actions(0))).rejects.toBeInstanceOf(ConnectionLostError);
    expect(closed).toEqual([0, 2, 3]);
  });
});
