import { describe, expect, it } from 'vitest';
import { ConnectionLostError } from '../core/errors.js';
import { DeadlineError } from './call.js';
import { SecurityError } from './errors.js';
import { ServerPool, type ServerPoolOptions } from './server-pool.js';

interface Fake {
  readonly address: string;
  readonly number: number;
}

const peer = { configKey: 'language.sampler', protocol: 'a test', server: 'a test server' };
const lost = () => new ConnectionLostError({ where: 'here:1', what: 'gone' });

function poolOf(addresses: readonly string[], options: Partial<ServerPoolOptions<Fake>> = {}) {
  const opened: Fake[] = [];
  const closed: Fake[] = [];
  const slept: number[] = [];
  let time = 0;
  const pool = new ServerPool<Fake>({
    addresses,
    inFlight: 2,
    reconnect: { attempts: 3, initialDelaySeconds: 1, maxDelaySeconds: 2 },
    peer,
    open: async (address) => {
      opened.push({ address, number: opened.length });
      return opened[opened.length - 1]!;
    },
    close: (server) => closed.push(server),
    probe: async () => {},
    sleep: async (milliseconds) => {
      slept.push(milliseconds);
      time += milliseconds;
    },
    now: () => time,
    ...options,
  });
  return { pool, opened, closed, slept };
}

/** Work that lasts until `ends` are called. */
function held() {
  const under: string[] = [];
  const ends: (() => void)[] = [];
  const work = ({ address }: Fake) =>
    new Promise<string>((resolve) => {
      under.push(address);
      ends.push(() => resolve(address));
    });
  return { under, ends, work };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('calls', () => {
  it('go to the server with the fewest calls, up to the limit', async () => {
    const { pool } = poolOf(['a:1', 'b:1']);
    const { under, ends, work } = held();
    const calls = Array.from({ length: 6 }, () => pool.run(work));
    await settle();
    expect(under).toEqual(['a:1', 'b:1', 'a:1', 'b:1']);
    ends[3]!();
    await settle();
    expect(under).toEqual(['a:1', 'b:1', 'a:1', 'b:1', 'b:1']);
    for (let i = 0; i < 6; i++) {
      ends[i]!();
      await settle();
    }
    expect((await Promise.all(calls)).length).toBe(6);
  });

  it('that wait run in order', async () => {
    const { pool } = poolOf(['a:1'], { inFlight: 1 });
    const order: number[] = [];
    await Promise.all([0, 1, 2, 3].map((i) => pool.run(async () => order.push(i))));
    expect(order).toEqual([0, 1, 2, 3]);
  });

  it('that wait can be stopped, without delaying others', async () => {
    const { pool } = poolOf(['a:1'], { inFlight: 1 });
    const { ends, work } = held();
    const first = pool.run(work);
    await settle();
    const stop = new AbortController();
    const second = pool.run(work, stop.signal);
    const third = pool.run(async () => 'third');
    stop.abort();
    await expect(second).rejects.toThrow(/a:1: the call was stopped while it waited/);
    ends[0]!();
    expect(await first).toBe('a:1');
    expect(await third).toBe('third');
  });

  it('share a connection', async () => {
    const { pool, opened } = poolOf(['a:1']);
    await pool.connect();
    await Promise.all([pool.run(async () => 1), pool.run(async () => 2)]);
    expect(opened).toHaveLength(1);
  });

  it('fail when the client is closed, as later ones do', async () => {
    const { pool, closed } = poolOf(['a:1'], { inFlight: 1 });
    const told = pool.run(
      (_server, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error('told')));
        }),
    );
    const waiting = pool.run(async () => 1);
    await settle();
    pool.close();
    await expect(told).rejects.toThrow('told');
    await expect(waiting).rejects.toThrow(/the client was closed/);
    await expect(pool.run(async () => 1)).rejects.toThrow(/the client was closed/);
    await settle();
    expect(closed).toHaveLength(1);
  });
});

describe('a connection that is lost', () => {
  it('is made again, after a growing delay, and the work is repeated', async () => {
    const { pool, opened, closed, slept } = poolOf(['a:1']);
    const result = await pool.run(async ({ number }) => {
      if (number < 3) throw lost();
      return number;
    });
    expect(result).toBe(3);
    expect(slept).toEqual([1000, 2000, 2000]);
    expect(opened).toHaveLength(4);
    expect(closed).toHaveLength(3);
  });

  it('is given up after the last attempt, with an error that counts them', async () => {
    const { pool, opened } = poolOf(['a:1']);
    await expect(
      pool.run(async () => {
        throw lost();
      }),
    ).rejects.toThrow(
      /here:1: gone \(3 more attempts failed too\)\. .*language\.sampler\.reconnect\.attempts/,
    );
    expect(opened).toHaveLength(4);
  });

  it('is not waited for if another server can do the work', async () => {
    const { pool, slept } = poolOf(['a:1', 'b:1']);
    const asked: string[] = [];
    const work = async ({ address }: Fake) => {
      asked.push(address);
      if (address === 'a:1') throw lost();
      return address;
    };
    expect(await pool.run(work)).toBe('b:1');
    expect(await pool.run(work)).toBe('b:1');
    expect(asked).toEqual(['a:1', 'b:1', 'b:1']);
    expect(slept).toEqual([]);
  });

  it('may be one that could not be made', async () => {
    let attempts = 0;
    const { pool } = poolOf(['a:1'], {
      open: async (address) => {
        if (attempts++ < 2) throw lost();
        return { address, number: 0 };
      },
    });
    expect(await pool.run(async ({ address }) => address)).toBe('a:1');
    expect(attempts).toBe(3);
  });

  it('is no longer waited for once the call is stopped', async () => {
    const stop = new AbortController();
    const { pool } = poolOf(['a:1'], { sleep: async () => stop.abort() });
    const failing = async () => {
      throw lost();
    };
    await expect(pool.run(failing, stop.signal)).rejects.toThrow(/the call was stopped/);
  });
});

describe('a call that has passed its deadline', () => {
  const late = async ({ number }: Fake) => {
    if (number === 0) throw new DeadlineError({ what: 'late' });
    return number;
  };

  it('is not repeated if the server answers a probe', async () => {
    await expect(poolOf(['a:1']).pool.run(late)).rejects.toThrow('late');
  });

  it('counts as lost if the server does not answer a probe either', async () => {
    const { pool, closed } = poolOf(['a:1'], {
      probe: async () => {
        throw lost();
      },
    });
    expect(await pool.run(late)).toBe(1);
    expect(closed).toHaveLength(1);
  });
});

describe('a pool', () => {
  it('needs an address, and room for one call', () => {
    expect(() => poolOf([])).toThrow(/language\.sampler: no address is given/);
    expect(() => poolOf(['a:1'], { inFlight: 0 })).toThrow(/inFlight is 0\. It must be 1 or more/);
  });
});

describe('an error that another attempt would meet again', () => {
  it('is not retried', async () => {
    const { pool, opened } = poolOf(['a:1']);
    const refused = async () => {
      throw new SecurityError({ what: 'no' });
    };
    await expect(pool.run(refused)).rejects.toThrow('no');
    expect(opened).toHaveLength(1);
  });

  it('is retried if the connection was trusted before, since the token may have been renewed', async () => {
    const { pool, opened } = poolOf(['a:1']);
    await pool.run(async () => 1);
    const result = await pool.run(async ({ number }) => {
      if (number === 0) throw new SecurityError({ what: 'no' });
      return number;
    });
    expect(result).toBe(1);
    expect(opened).toHaveLength(2);
  });
});

describe('results that are yielded one by one', () => {
  const collect = async <T>(iterable: AsyncIterable<T>) => {
    const all: T[] = [];
    for await (const one of iterable) all.push(one);
    return all;
  };

  it('start again if none has been yielded', async () => {
    const { pool } = poolOf(['a:1']);
    const stream = pool.stream(async function* ({ number }) {
      if (number === 0) throw lost();
      yield number;
      yield number;
    });
    expect(await collect(stream)).toEqual([1, 1]);
  });

  it('do not start again after the first', async () => {
    const { pool, opened } = poolOf(['a:1']);
    const got: number[] = [];
    const read = async () => {
      const stream = pool.stream(async function* ({ number }) {
        yield number;
        throw lost();
      });
      for await (const one of stream) got.push(one);
    };
    await expect(read()).rejects.toThrow(/gone/);
    expect(got).toEqual([0]);
    expect(opened).toHaveLength(1);
  });

  it('make room for other calls when the caller stops iterating', async () => {
    const { pool } = poolOf(['a:1'], { inFlight: 1 });
    for await (const _one of pool.stream(async function* () {
      yield 1;
      yield 2;
    })) {
      break;
    }
    expect(await pool.run(async () => 'next')).toBe('next');
  });
});
