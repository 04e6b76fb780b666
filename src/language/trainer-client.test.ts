import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import type { LanguageModel } from './language-model.js';
import { trainerService } from './services.js';
import { openTrainer, type TrainerClientOptions } from './trainer-client.js';

/** Runs against a scripted trainer; test/interop/torch_trainer has the real one. */

const sampler = { info: { name: 'tiny' }, tokenizer: { vocabularyHash: '0f' } } as LanguageModel;
const info = { model: 'tiny', vocabularySize: 320, contextLength: 64, vocabularyHash: '0f' };

let server: grpc.Server | undefined;
afterEach(() => server?.forceShutdown());

interface Script {
  /** The answer to GetInfo; if omitted, there is none. */
  readonly info?: typeof info;
  readonly hold?: (call: grpc.ServerWritableStream<{ holder: string }, object>) => void;
}

async function connect(script: Script, options: Partial<TrainerClientOptions> = {}) {
  server = new grpc.Server();
  server.addService(trainerService(), {
    GetInfo(_: unknown, respond: grpc.sendUnaryData<object>) {
      if (script.info !== undefined) respond(null, script.info);
    },
    Hold: script.hold ?? ((call: grpc.ServerWritableStream<object, object>) => call.write({})),
    Score() {},
  });
  const own = server;
  const port = await new Promise<number>((resolve, reject) => {
    own.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const address = `127.0.0.1:${port}`;
  return openTrainer({ address, sampler, configKey: 'language.model', deadlineSeconds: 20, ...options });
}

describe('openTrainer', () => {
  it('names the run that uses the trainer, even if the trainer does not answer GetInfo', async () => {
    const hold: Script['hold'] = (call) =>
      call.emit('error', {
        code: grpc.status.FAILED_PRECONDITION,
        details: 'the run one is using this trainer',
      });
    await expect(connect({ hold }, { holder: 'the run two' })).rejects.toThrow(
      'the run one is using this trainer',
    );
  });

  it.each<[string, Script]>([
    ['GetInfo', {}],
    ['Hold', { info, hold: () => {} }],
  ])('does not suggest an unrelated setting if %s is not answered', async (method, script) => {
    const error = await connect(script, { holder: 'me', deadlineSeconds: 2 }).catch(
      (caught: Error) => caught,
    );
    expect(String(error)).toMatch(
      new RegExp(`no answer to ${method} within 2 s\\. A trainer answers this even while`),
    );
  });
});

it('names the deadline setting if a call that computes takes too long', async () => {
  const trainer = await connect({ info }, { computeSeconds: 0.2 });
  const sequence = { prompt: Int32Array.of(1), completion: Int32Array.of(2) };
  await expect(trainer.score([sequence], { policy: true })).rejects.toThrow(
    /no answer to Score within 0\.2 s\. Raise language\.model\.deadlineSeconds/,
  );
  await trainer.close();
});
