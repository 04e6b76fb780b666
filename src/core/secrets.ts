/** Secrets that a person typed in the wrong place must not be repeated in messages and reports, which others read. */

const secretKey = /(^|[a-z_-])(token|password|passwd|secret|credentials?)$|api[_-]?key$/i;

/** The text that replaces a secret in messages. */
export const hidden = '…';

/** Whether a setting of this name holds a secret, or is where people put one. */
export function isSecretKey(name: string): boolean {
  return secretKey.test(name);
}

/** The text without the user and the password of any URL in it. */
export function withoutCredentials(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/@'"]+@/gi, `$1${hidden}@`);
}

/** A `key=value` argument without its value if the last part of its key is that of a secret, and without credentials in URLs. */
export function withoutSecret(argument: string): string {
  const [key, ...value] = argument.split('=');
  const isSecret = value.length > 0 && isSecretKey(key!.trim().split('.').at(-1)!);
  return isSecret ? `${key}=${hidden}` : withoutCredentials(argument);
}
