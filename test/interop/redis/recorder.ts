import { pause, RedisConnection } from '../../../src/replay/redis/connection.js';
import { runKeys } from '../../../src/replay/redis/keys.js';

/** Reads a run's stream beside the learner and keeps everything: what Redis stored, by a reader that was never killed. */

export interface Recorded {
  readonly actor: string;
  readonly sequence: number;
  readonly count: number;
  readonly rows: Buffer;
}

type Entry = [Buffer, Buffer[]];

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
        // Once more after it was told to stop: nothing that is there is left out.
        last = signal.aborted;
        const reply = await connection.command(['XREAD', 'COUNT', 1000, 'STREAMS', stream, position]);
        const [[, entries]] = (reply ?? [[stream, []]]) as unknown as [[Buffer, Entry[]]];
        for (const [id, fields] of entries) {
          const value = (name: string) => fields[fields.findIndex((field) => String(field) === name) + 1];
          this.entries.push({
            actor: String(value('actor')),
            sequence: Number(String(value('sequence'))),
            count: Number(String(value('count'))),
            rows: value('rows'),
          });
          position = String(id);
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

  /** Resolves when so many transitions have been stored. */
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
