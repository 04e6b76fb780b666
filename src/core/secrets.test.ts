import { expect, it } from 'vitest';
import { isSecretKey, withoutCredentials, withoutSecret } from './secrets.js';

it('knows the names under which people keep secrets', () => {
  for (const name of [
    'token',
    'authToken',
    'redisPassword',
    'password',
    'apiKey',
    'API_KEY',
    'client_secret',
  ])
    expect(isSecretKey(name), name).toBe(true);
  for (const name of ['tokens', 'tokenizer', 'maxTokens', 'key', 'keepaliveSeconds', 'alpha'])
    expect(isSecretKey(name), name).toBe(false);
});

it('takes credentials out of URLs', () => {
  expect(withoutCredentials('redis://user:hunter2@far:6379/1 and https://x@y')).toBe(
    'redis://…@far:6379/1 and https://…@y',
  );
  expect(withoutCredentials('redis://far:6379, a@b')).toBe('redis://far:6379, a@b');
});

it('hides the value of a setting that is a secret', () => {
  expect(withoutSecret('environment.token=abc=')).toBe('environment.token=…');
  expect(withoutSecret('operator.alpha=1')).toBe('operator.alpha=1');
  expect(withoutSecret('token')).toBe('token');
});
