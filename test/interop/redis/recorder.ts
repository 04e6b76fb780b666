import { pause, RedisConnection } from '../../../src/replay/redis/connection.js';
import { runKeys } from '../../../src/replay/redis/keys.js';
import { streamEntries } from '../../../src/replay/redis/replay-reader.js';

/** A chunk as Redis stored it. */
export interface Recorded {
  readonly actor: string;
  readonly sequence: number;
  readonly count: number;
  readonly rows: Buffer;
}

/** Reads a run's stream beside the learner, is never killed, and so knows everything that Redis has stored. */
export class StreamRecorder {
  readonly entries: Recorded[] = [];
  readonly #stopping = new AbortController();
  #reading: Promise<void> | undefined;

  static async start(
    server: { readonly address: { readonly url: string } },
    run: string,
  ): Promise<StreamRecorder> {
    const recorder = new StreamRecorder();
    const { signal } = recorder.#stopping;
    const connection = await RedisConnection.open(server.address, { notice: () => {}, signal });
    recorder.#reading = recorder.#read(connection, runKeys(run).transitions);
    return recorder;
  }

  async #read(connection: RedisConnection, stream: string): Promise<void> {
    const { signal } = this.#stopping;
    let position = '0';
    let last = false;
    try {
      for (;;) {
        // One more read after the abort, so that nothing is left out.
        last = signal.aborted;
        const reply = await connection.command(['XREAD', 'COUNT', 1000, 'STREAMS', stream, position]);
        for (const { id, fields } of streamEntries(reply)) {
          const rows = fields.get('rows');
          if (!(rows instanceof Buffer)) throw new Error(`entry ${id} has no rows`);
          this.entries.push({
            actor: String(fields.get('actor')),
            sequence: Number(String(fields.get('sequence'))),
            count: Number(String(fields.get('count'))),
            rows,
          });
          position = id;
        }
        if (last) return;
        await pause(50, signal);
      }
    } finally {
      connection.close();
    }
  }

  /** Transitions seen so far. */
  get transitions(): number {
    return this.entries.reduce((sum, { count }) => sum + count, 0);
  }

  /** Resolves when this number of transitions has been stored. */
  async until(transitions: number, timeoutSeconds = 120): Promise<void> {
    const end = Date.now() + timeoutSeconds * 1000;
    while (this.transitions < transitions) {
      if (Date.now() > end) throw new Error(`${this.transitions} of ${transitions} transitions in time`);
      await pause(20);
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#reading;
  }
}

/** The rows of chunks, one text each. */
export function rowsOf(entries: readonly Recorded[]): string[] {
  return entries.flatMap(({ rows, count }) => {
    const width = rows.length / count;
    return Array.from({ length: count }, (_, i) => rows.subarray(i * width, (i + 1) * width).toString('hex'));
  });
}
