/** Environments of which the same is to be said. */
interface Gathered {
  readonly text: string;
  readonly environments: Set<number>;
}

/** Streams of one server break within this time of each other. */
const gatherMs = 100;

/**
 * Says which environments have lost their server, and which have it again. A server has many of them, which lose it at the same time: what
 * happens to several within a moment is said in one line.
 */
export class LossNotices {
  readonly #notice: (message: string) => void;
  /** What has not been said yet, in order. */
  readonly #gathered: Gathered[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(notice: (message: string) => void) {
    this.#notice = notice;
  }

  /** @param reason what happened, as a sentence. */
  lost(environment: number, reason: string): void {
    this.#add(environment, `${reason} Reconnecting`);
  }

  /** The environment is connected again. */
  back(environment: number): void {
    this.#add(environment, 'connected again, with a fresh episode');
  }

  /** Says at once what has not been said. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const { text, environments } of this.#gathered.splice(0)) {
      const names = [...environments].sort((a, b) => a - b);
      this.#notice(`${names.length === 1 ? 'environment' : 'environments'} ${names.join(', ')}: ${text}`);
    }
  }

  #add(environment: number, text: string): void {
    // An environment may be lost again within the moment: its second loss comes after its return.
    const last = this.#gathered.findLastIndex(({ environments }) => environments.has(environment));
    const group = this.#gathered.find((one, i) => i > last && one.text === text);
    if (group === undefined) this.#gathered.push({ text, environments: new Set([environment]) });
    else group.environments.add(environment);
    this.#timer ??= setTimeout(() => this.flush(), gatherMs);
  }
}
