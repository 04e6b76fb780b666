import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import type { LanguageModel } from './language-model.js';
import { trainerService } from './services.js';
import { openTrainer, type TrainerClientOptions } from './trainer-client.js';

/** Against a trainer that answers as it is told; test/interop/torch_trainer has the real one. */

const sampler = { info: { name: 'tiny' }, tokenizer: { vocabularyHash: '0f' } } as LanguageModel;
const info = { model: 'tiny', vocabularySize: 320, contextLength: 64, vocabularyHash: '0f' };

let server: grpc.Server | undefined;
afterEach(() => server?.forceShutdown());

interface Script {
  /** Absent: nothing is said. */
  readonly info?: typeof info;
  readonly hold?: (call: grpc.ServerWritableStream<{ holder: string }, object>) => void;
}

async function connect(script: Script, options: Partial<TrainerClientOptions> = {}) {
  server = new grpc.Server();
  server.addService(trainerService, {
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
  it('says whose a trainer is that computes for somebody else, and so has no answer to what it is', async () => {
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
  ])(
    'does not send anybody to a setting that has nothing to do with an unanswered %s',
    async (method, script) => {
      const error = await connect(script, { holder: 'me', deadlineSeconds: 2 }).catch(
        (caught: Error) => caught,
      );
      expect(String(error)).toMatch(
        new RegExp(`no answer to ${method} within 2 s\\. A trainer answers this while`),
      );
    },
  );
});

it('names the setting by which a call that computes may take longer', async () => {
  const trainer = await connect({ info }, { computeSeconds: 0.2 });
  const sequence = { prompt: Int32Array.of(1), completion: Int32Array.of(2) };
  await expect(trainer.score([sequence], { policy: true })).rejects.toThrow(
    /no answer to Score within 0\.2 s\. Raise language\.model\.deadlineSeconds/,
  );
  await trainer.close();
});
