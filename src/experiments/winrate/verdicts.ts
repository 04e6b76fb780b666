import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PmpoError } from '../../core/errors.js';
import { AppendFile } from '../../system/append-file.js';
import { fileProblem } from '../../system/atomic-file.js';

/** What a judge said of two completions of one prompt. */
export type Winner = 'a' | 'b' | 'tie' | 'unanswered';

export interface Verdict {
  /** Which of the prompts, from 0. */
  readonly index: number;
  /** Which completion the judge was shown first. */
  readonly first: 'a' | 'b';
  readonly winner: Winner;
  /** The judge's own words, or numbers. */
  readonly answer: string;
  readonly prompt: string;
  readonly a: string;
  readonly b: string;
  /** How A's and B's ended. */
  readonly finishReasons: readonly [a: string, b: string];
}

/** What a verdict is on: the same question need not be asked twice. */
function questionOf({
  index,
  first,
  prompt,
  a,
  b,
  finishReasons,
}: Omit<Verdict, 'winner' | 'answer'>): string {
  return JSON.stringify([index, first, prompt, a, b, finishReasons]);
}

/**
 * Verdicts in a file of JSON Lines, each written as it is given: the file can be read by a person, and a comparison that was
 * stopped goes on from it.
 */
export class VerdictFile {
  readonly #path: string;
  /** The line that says what is compared, until it is written. */
  #head: string | undefined;
  #file: AppendFile | undefined;
  readonly #known = new Map<string, Verdict>();

  private constructor(path: string, head: string | undefined, verdicts: readonly Verdict[]) {
    this.#path = path;
    this.#head = head;
    for (const verdict of verdicts) this.#known.set(questionOf(verdict), verdict);
  }

  /**
   * Reads the file, where there is one; it is made with the first verdict.
   * @param subject what is compared by whom: a file of another comparison is refused.
   * @throws PmpoError when it is of another comparison, or damaged.
   */
  static async open(path: string, subject: object): Promise<VerdictFile> {
    const digest = createHash('sha256').update(JSON.stringify(subject)).digest('hex').slice(0, 16);
    const head = `${JSON.stringify({ comparison: digest, ...subject })}\n`;
    const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return '';
      throw new PmpoError({ where: path, what: 'it cannot be read', cause });
    });
    const lines = text.split('\n').slice(0, -1);
    const parsed = lines.map((line, i) => {
      try {
        return JSON.parse(line) as unknown;
      } catch (cause) {
        throw new PmpoError({ where: `${path}:${i + 1}`, what: 'the line is not JSON', cause });
      }
    });
    const [first, ...verdicts] = parsed as [{ comparison?: string } | undefined, ...Verdict[]];
    // Nothing would be lost of a file of ours that has no verdict yet; anything else may be somebody's.
    const isOurs = text === '' || text.startsWith('{"comparison":');
    if (verdicts.length === 0 && isOurs) return new VerdictFile(path, head, []);
    if (first?.comparison !== digest) {
      throw new PmpoError({
        where: path,
        what: 'it holds the verdicts of another comparison (other models, prompts, sampling or judge)',
        remedy: 'Give another file with --output',
      });
    }
    return new VerdictFile(path, undefined, verdicts);
  }

  /** A verdict that was given before. */
  known(question: Omit<Verdict, 'winner' | 'answer'>): Verdict | undefined {
    return this.#known.get(questionOf(question));
  }

  add(verdict: Verdict): void {
    this.#file ??= this.#open();
    this.#file.append(Buffer.from(`${JSON.stringify(verdict)}\n`));
    this.#known.set(questionOf(verdict), verdict);
  }

  #open(): AppendFile {
    const head = this.#head;
    this.#head = undefined;
    if (head !== undefined) {
      try {
        mkdirSync(dirname(this.#path), { recursive: true });
        writeFileSync(this.#path, head);
      } catch (cause) {
        throw fileProblem(this.#path, 'making it', cause);
      }
    }
    return new AppendFile(this.#path);
  }

  close(): void {
    this.#file?.sync();
    this.#file?.close();
  }
}
