import { expect, it } from 'vitest';
import { ConnectionLostError } from '../core/errors.js';
import { reconnect } from './reconnect.js';

it('says how many attempts failed, and what the last one would have needed', async () => {
  const lost = new ConnectionLostError({ where: 'a:1', what: 'the connection was lost' });
  const slow = new ConnectionLostError({ where: 'a:1', what: 'no answer', remedy: 'Raise deadlineSeconds' });
  const settings = { attempts: 2, initialDelaySeconds: 0, maxDelaySeconds: 0 };
  const gaveUp = reconnect(() => Promise.reject(slow), lost, settings, { sleep: async () => {} });
  await expect(gaveUp).rejects.toBeInstanceOf(ConnectionLostError);
  await expect(gaveUp).rejects.toThrow(
    'a:1: the connection was lost, and 2 attempts to reconnect failed: no answer. Raise deadlineSeconds. Then resume the run, or raise environment.reconnect.attempts',
  );
});
