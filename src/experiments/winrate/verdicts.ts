import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PmpoError } from '../../core/errors.js';
import { AppendFile } from '../../system/append-file.js';
import { fileProblem } from '../../system/atomic-file.js';

/** Which of two completions of a prompt a judge prefers. */
export type Winner = 'a' | 'b' | 'tie' | 'unanswered';

/** A judge's answer to one question. */
export interface Verdict {
  /** Index of the prompt, from 0. */
  readonly index: number;
  /** Which completion the judge was shown first. */
  readonly first: 'a' | 'b';
  readonly winner: Winner;
  /** The judge's answer: its text, or two rewards. */
  readonly answer: string;
  readonly prompt: string;
  readonly a: string;
  readonly b: string;
  /** How the completions of A and B ended. */
  readonly finishReasons: readonly [a: string, b: string];
}

/** The key of a verdict: a question that has one is not asked again. */
function questionKey({
  index,
  first,
  prompt,
  a,
  b,
  finishReasons,
}: Omit<Verdict, 'winner' | 'answer'>): string {
  return JSON.stringify([index, first, prompt, a, b, finishReasons]);
}

/** Verdicts in a JSON Lines file, each written at once, so that a comparison that was stopped can resume from the file. */
export class VerdictFile {
  readonly #path: string;
  /** The first line, which says what is compared; undefined once it is written. */
  #head: string | undefined;
  #file: AppendFile | undefined;
  readonly #known = new Map<string, Verdict>();

  private constructor(path: string, head: string | undefined, verdicts: readonly Verdict[]) {
    this.#path = path;
    this.#head = head;
    for (const verdict of verdicts) this.#known.set(questionKey(verdict), verdict);
  }

  /**
   * Reads the file if it exists; otherwise the first verdict creates it.
   * @param subject what is compared, and by which judge.
   * @throws PmpoError if the file belongs to another comparison or is damaged.
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
    // A file of this program without verdicts may be overwritten; any other file may be the user's.
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

  /** The verdict on a question that was asked before. */
  known(question: Omit<Verdict, 'winner' | 'answer'>): Verdict | undefined {
    return this.#known.get(questionKey(question));
  }

  add(verdict: Verdict): void {
    this.#file ??= this.#open();
    this.#file.append(Buffer.from(`${JSON.stringify(verdict)}\n`));
    this.#known.set(questionKey(verdict), verdict);
  }

  #open(): AppendFile {
    const head = this.#head;
    this.#head = undefined;
    if (head !== undefined) {
      try {
        mkdirSync(dirname(this.#path), { recursive: true });
        writeFileSync(this.#path, head);
      } catch (cause) {
        throw fileProblem(this.#path, 'creating it', cause);
      }
    }
    return new AppendFile(this.#path);
  }

  close(): void {
    this.#file?.sync();
    this.#file?.close();
  }
}
