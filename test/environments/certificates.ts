import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CertificateExtension, generate, type SelfsignedOptions } from 'selfsigned';

/** Certificates for tests of TLS, made when they are needed. */

/** PEM text. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

const day = 24 * 3600 * 1000;

async function make(name: string, options: SelfsignedOptions): Promise<KeyPair> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - 2 * day),
    notAfterDate: new Date(Date.now() + day),
    ...options,
  });
  return { certificate: cert, key };
}

/** An authority that signs others' certificates. */
export function authority(name: string): Promise<KeyPair> {
  return make(name, {
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
}

/** A certificate for a host or an IP address, signed by `by`, or by itself. */
export function signed(
  host: string,
  { by, expired = false }: { readonly by?: KeyPair; readonly expired?: boolean } = {},
): Promise<KeyPair> {
  const isAddress = /^[\d.]+$/.test(host);
  const extensions: CertificateExtension[] = [
    { name: 'keyUsage', digitalSignature: true },
    { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
    { name: 'subjectAltName', altNames: [isAddress ? { type: 7, ip: host } : { type: 2, value: host }] },
  ];
  return make(host, {
    extensions,
    ...(by === undefined ? {} : { ca: { cert: by.certificate, key: by.key } }),
    ...(expired ? { notAfterDate: new Date(Date.now() - day) } : {}),
  });
}

/** Writes texts to files of a new folder; returns their paths by name, and `remove` to delete them. */
export async function writeFiles<Name extends string>(
  texts: Readonly<Record<Name, string>>,
): Promise<{ readonly paths: Record<Name, string>; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'pmpo-files-'));
  const paths = {} as Record<Name, string>;
  for (const [name, text] of Object.entries<string>(texts)) {
    paths[name as Name] = join(folder, name);
    await writeFile(paths[name as Name], text);
  }
  return { paths, remove: () => rm(folder, { recursive: true, force: true }) };
}
