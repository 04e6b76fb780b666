import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { classifyOnHostChecked, openChecked } from '../feedback/checked-host.js';
import type { HostClassifier, HostFeedbackInput } from '../feedback/classifier.js';
import { programFeedbackDefinition } from './program.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-program-'));
});
afterAll(() => rm(folder, { recursive: true }));

const opened: HostClassifier[] = [];
afterEach(async () => {
  for (const classifier of opened.splice(0)) await classifier.close?.();
});

/** A classifier whose program runs `body` for each line that it reads, which it has as the object `batch`. */
async function program(body: string, settings: object = {}): Promise<HostClassifier> {
  const file = join(folder, `judge${opened.length}.mjs`);
  await writeFile(
    file,
    `import { createInterface } from 'node:readline';
     let batch;
     const answer = (value) => console.log(JSON.stringify(value === null ? null : { batch: batch.batch, ...value }));
     createInterface({ input: process.stdin }).on('line', (line) => { batch = JSON.parse(line); ${body} });`,
  );
  return create({ command: [process.execPath, file], ...settings });
}

function create(settings: object): HostClassifier {
  const classifier = programFeedbackDefinition.create({ folder, ...settings }, 2) as HostClassifier;
  opened.push(classifier);
  return classifier;
}

/** 2 samples, each of 2 values, of 3 contexts. */
const input: HostFeedbackInput = {
  samplesPerContext: 2,
  contexts: 3,
  evaluation: Float32Array.of(1, 2, 3, 4, 5, 6),
  mask: Float32Array.of(1, 1, 1, 1, 1, 0),
  baseline: Float32Array.of(2.5, 3.5, 4.5),
  sampleValues: Float32Array.from({ length: 12 }, (_, i) => i),
  sampleShape: [2, 3, 2],
  contextValues: Float32Array.of(7, 8, 9),
  contextShape: [3, 1],
  contextTexts: ['a', 'b', 'c'],
  sampleTexts: ['a0', 'b0', 'c0', 'a1', 'b1', 'c1'],
};

const classify = (classifier: HostClassifier) => classifyOnHostChecked('program', classifier, input);

const judge =
  'answer({ accept: batch.evaluation.map((row) => row.map((f, b) => f >= batch.baseline[b])), reject: batch.evaluation.map((row) => row.map(() => 0.5)) });';

describe('a program that classifies', () => {
  it('reads a line of JSON for each batch and answers with one, as often as it is asked', async () => {
    const classifier = await program(judge);
    for (let i = 0; i < 3; i++) {
      expect(await classify(classifier)).toEqual({
        accept: Float32Array.of(0, 0, 0, 1, 1, 1),
        reject: new Float32Array(6).fill(0.5),
      });
    }
  });

  it('is given samples, observations and texts as nested lists', async () => {
    const classifier = await program(
      'console.error(line); process.exitCode = 1; setTimeout(() => process.exit(1), 50);',
    );
    await expect(classify(classifier)).rejects.toThrow(
      `{"batch":0,"samplesPerContext":2,"contexts":3,"evaluation":[[1,2,3],[4,5,6]],"mask":[[1,1,1],[1,1,0]],"baseline":[2.5,3.5,4.5],` +
        `"samples":[[[0,1],[2,3],[4,5]],[[6,7],[8,9],[10,11]]],"observations":[[7],[8],[9]],` +
        `"contextTexts":["a","b","c"],"sampleTexts":[["a0","b0","c0"],["a1","b1","c1"]]}`,
    );
  });

  it.each<[string, string, RegExp]>([
    [
      'ends',
      'console.error("no model"); process.exit(3);',
      /it ended with code 3 before it answered: no model/,
    ],
    ['is killed', 'process.kill(process.pid, "SIGKILL");', /it was ended by SIGKILL before it answered/],
    ['answers with something else', 'console.log("done");', /its answer is not JSON: done\. It must be/],
    [
      'answers without a side',
      'answer({ accept: [[1, 1, 1], [1, 1, 1]] });',
      /'reject' is not a list of N = 2 lists/,
    ],
    ['answers with null', 'answer(null);', /it answered batch undefined when it was asked about batch 0/],
    [
      'answers another batch',
      'answer({ batch: 3, accept: [[1, 1, 1], [1, 1, 1]], reject: [[0, 0, 0], [0, 0, 0]] });',
      /it answered batch 3 when it was asked about batch 0/,
    ],
    [
      'answers transposed',
      'answer({ accept: [[1, 1], [1, 1], [1, 1]], reject: [[0, 0], [0, 0], [0, 0]] });',
      /'accept' is not a list of N = 2 lists/,
    ],
    [
      'answers with short rows',
      'answer({ accept: [[1, 1], [1, 1]], reject: [[0, 0], [0, 0]] });',
      /'accept' has a row that is not a list of B = 3 numbers/,
    ],
    [
      'answers with texts',
      'answer({ accept: [["1", 1, 1], [1, 1, 1]], reject: [[0, 0, 0], [0, 0, 0]] });',
      /'accept' has a row that is not a list of B = 3 numbers/,
    ],
    [
      'answers with weights above 1',
      'answer({ accept: [[2, 1, 1], [1, 1, 1]], reject: [[0, 0, 0], [0, 0, 0]] });',
      /accept is 2 for sample 0 of context 0/,
    ],
  ])('is refused in one line if it %s', async (_, body, message) => {
    const outcome = classify(await program(body));
    await expect(outcome).rejects.toThrow(/^feedback 'program'/);
    await expect(outcome).rejects.toThrow(message);
  });

  it('is refused if it writes a line that nothing was asked for', async () => {
    const classifier = await program(`${judge} console.log('and one more');`);
    await classify(classifier);
    await expect.poll(() => classify(classifier).then(() => '', String)).toMatch(/and one more/);
  });

  it('is killed at its deadline', async () => {
    const classifier = await program('for (;;);', { deadlineSeconds: 0.5 });
    await expect(classify(classifier)).rejects.toThrow('it has not answered within 0.5 s');
    await classifier.close?.();
  });

  it('is named if it is not there, before the run begins', async () => {
    const missing = create({ command: ['no-such-program'] });
    await expect(openChecked('program', missing, { notice: () => {} })).rejects.toThrow(
      `feedback 'program', no-such-program: the program 'no-such-program' was not found`,
    );
  });

  it('ends at once although a process that it started still holds its streams', async () => {
    const body = `process.exitCode = 4; import('node:child_process').then(({ spawn }) => {
      spawn('sleep', ['30'], { stdio: 'inherit', detached: true }).unref(); setTimeout(() => process.exit(4), 200); });`;
    await expect(classify(await program(body, { deadlineSeconds: 20 }))).rejects.toThrow(
      'it ended with code 4',
    );
  });

  it('gives no weights of a side that it does not give', async () => {
    const { accept, reject } = await classify(await program(judge, { gives: 'accepts' }));
    expect(accept).toEqual(Float32Array.of(0, 0, 0, 1, 1, 1));
    expect(reject).toEqual(new Float32Array(6));
  });

  it('says beforehand which weights it gives', () => {
    expect(create({ command: ['x'] }).provides).toEqual({ accepts: true, rejects: true });
    expect(create({ command: ['x'], gives: 'rejects' }).provides).toEqual({ accepts: false, rejects: true });
  });
});
