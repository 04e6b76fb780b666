/** The environments that lost their server for the same reason and at the same time. */
interface Loss {
  readonly waiting: Set<number>;
  readonly back: Set<number>;
}

/**
 * Says which environments have lost their server, and which have it again. A server has many of them: those that lose it for the same
 * reason, before the first is back, are said in one line, and again in one line when the last of them is back.
 */
export class LossNotices {
  readonly #notice: (message: string) => void;
  /** By the reason. */
  readonly #losses = new Map<string, Loss>();

  constructor(notice: (message: string) => void) {
    this.#notice = notice;
  }

  /** @param reason what happened, as a sentence. */
  lost(environment: number, reason: string): void {
    const open = this.#losses.get(reason);
    if (open === undefined || open.back.size > 0) {
      this.#notice(`environment ${environment}: ${reason} Reconnecting`);
    }
    const loss = open ?? { waiting: new Set(), back: new Set() };
    loss.waiting.add(environment);
    this.#losses.set(reason, loss);
  }

  /** The environment is connected again, or is given up. */
  ended(environment: number, reason: string, isBack: boolean): void {
    const loss = this.#losses.get(reason);
    if (loss === undefined) return;
    loss.waiting.delete(environment);
    if (isBack) loss.back.add(environment);
    if (loss.waiting.size > 0) return;
    this.#losses.delete(reason);
    const back = [...loss.back].sort((a, b) => a - b);
    if (back.length === 1) this.#notice(`environment ${back[0]}: connected again; it starts a fresh episode`);
    if (back.length > 1)
      this.#notice(`environments ${back.join(', ')}: connected again; each starts a fresh episode`);
  }
}
