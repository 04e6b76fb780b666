import { describe, expect, it } from 'vitest';
import { callError } from './call.js';
import { refusal } from './channel.js';
import { statusCode, statusNames } from './status.js';

const peer = { configKey: 'language.sampler', protocol: 'vLLM', server: 'a vLLM server' };
const details = `bad \x1b[2J\x9b31m\nsecond line ${'A'.repeat(100_000)}`;

describe('the error of a failed call', () => {
  it.each(statusNames.slice(1))('%s shows what the server said on one line', (name) => {
    const error = { code: statusCode(name), details, message: details };
    const { message } = callError('host:1', 'Generate', error, peer, { deadlineSeconds: 5 });
    expect(message).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(message.length).toBeLessThan(600);
    if (name !== 'DEADLINE_EXCEEDED') expect(message).toContain('bad \\x1b[2J\\x9b31m\\nsecond line');
    expect(refusal('host:1', error, peer)?.message ?? '').not.toMatch(/\p{Cc}/u);
  });
});
