import net from 'node:net';
import tls from 'node:tls';
import type { Peer } from './peer.js';
import type { TlsContents } from './security.js';

/** The reason why a gRPC connection cannot be made, in more detail than gRPC gives it. */
export interface Diagnosis {
  readonly what: string;
  readonly remedy?: string;
  /** Whether another attempt would fail in the same way. */
  readonly permanent: boolean;
}

interface Target {
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
}

function targetOf(address: string): Target {
  if (address.startsWith('unix:')) return { path: address.slice('unix:'.length) };
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) };
}

/** The first bytes of an HTTP/2 client: its preface, and an empty SETTINGS frame. */
const greeting = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'ascii'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);
const settingsFrame = 4;
const tlsAlert = 21;

const unknownAuthority = "the server's certificate is signed by an authority that is not trusted here";
const giveAuthority = "Give that authority's certificate as KEY.tls.ca";

/** Problems of certificates, by OpenSSL's code. KEY is replaced by the configuration key of the server. */
const certificateProblems: Readonly<Record<string, readonly [what: string, remedy?: string]>> = {
  CERT_HAS_EXPIRED: ["the server's certificate has expired", 'Renew it there'],
  CERT_NOT_YET_VALID: ["the server's certificate is not valid yet", "Are both machines' clocks right?"],
  DEPTH_ZERO_SELF_SIGNED_CERT: [
    "the server's certificate is self-signed",
    'If it is the right one, give it as KEY.tls.ca',
  ],
  SELF_SIGNED_CERT_IN_CHAIN: [unknownAuthority, giveAuthority],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: [unknownAuthority, giveAuthority],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: [unknownAuthority, giveAuthority],
  CERT_SIGNATURE_FAILURE: ["the signature of the server's certificate is wrong"],
};

function ofTlsError(
  error: NodeJS.ErrnoException & { reason?: string },
  { configKey }: Peer,
): Diagnosis | undefined {
  const { code = '', message } = error;
  const known = certificateProblems[code];
  if (known !== undefined) {
    return { what: known[0], remedy: known[1]?.replace('KEY', configKey), permanent: true };
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return {
      what: `the server's certificate is for another host (${error.reason ?? message})`,
      remedy: `Reach it by the name in its certificate, or give that name as ${configKey}.tls.serverName`,
      permanent: true,
    };
  }
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|wrong version number/i.test(`${code} ${message}`)) {
    return {
      what: 'the server does not speak TLS',
      remedy: `Leave ${configKey}.tls out, or start the server with a certificate`,
      permanent: true,
    };
  }
  if (/ALERT_CERTIFICATE_REQUIRED|ALERT_HANDSHAKE_FAILURE|certificate required/i.test(`${code} ${message}`)) {
    return {
      what: 'the server asks for a client certificate',
      remedy: `Give ${configKey}.tls.certificate and ${configKey}.tls.key`,
      permanent: true,
    };
  }
  if (
    /ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_|ACCESS_DENIED|DECRYPT_ERROR)|alert unknown ca/i.test(
      `${code} ${message}`,
    )
  ) {
    return {
      what: 'the server does not accept the client certificate',
      remedy: `${configKey}.tls.certificate must be signed by an authority that the server trusts`,
      permanent: true,
    };
  }
  return undefined;
}

/** A host whose name the system cannot look up. Another attempt may succeed, once the network is back. */
function ofNameError(
  { code }: NodeJS.ErrnoException,
  { host }: Target,
  { configKey }: Peer,
): Diagnosis | undefined {
  if (code !== 'ENOTFOUND' && code !== 'EAI_AGAIN') return undefined;
  return {
    what: `the name of the host ${host} is unknown here`,
    remedy: `Correct ${configKey}.address, or check the network`,
    permanent: false,
  };
}

const needsTls = ({ configKey }: Peer): Diagnosis => ({
  what: 'the server speaks TLS',
  remedy: `Set ${configKey}.tls`,
  permanent: true,
});

/** A diagnosis from the first bytes that a server sends; undefined if they are those of HTTP/2. */
function ofBytes(bytes: Buffer, peer: Peer): Diagnosis | undefined {
  if (bytes.subarray(0, 5).toString('latin1') === 'HTTP/') {
    return {
      what: 'the server speaks HTTP/1, not gRPC',
      remedy: `Give the address of ${peer.server}`,
      permanent: true,
    };
  }
  if (bytes[0] === tlsAlert && bytes[1] === 3) {
    return needsTls(peer);
  }
  if (bytes.length >= 9 && bytes[3] === settingsFrame) return undefined;
  return {
    what: 'the server does not speak gRPC',
    remedy: `Give the address of ${peer.server}`,
    permanent: true,
  };
}

/** A diagnosis for a server that ends the connection silently, after the greeting or the TLS handshake. */
function ofSilentEnd(contents: TlsContents | undefined, { configKey, server }: Peer): Diagnosis {
  if (contents === undefined) {
    return {
      what: 'the server ended the connection at once',
      remedy: `Is it ${server}?`,
      permanent: false,
    };
  }
  const given = contents.certificate !== undefined;
  return {
    what: 'the server ended the connection right after the TLS handshake',
    remedy: given
      ? `Is ${configKey}.tls.certificate signed by an authority that the server trusts?`
      : `Does it ask for a client certificate? Then give ${configKey}.tls.certificate and ${configKey}.tls.key`,
    permanent: false,
  };
}

/** The server name to send in the TLS handshake, unless it is an IP address. */
function serverName(name: string | undefined): { servername?: string } {
  return name === undefined || net.isIP(name) !== 0 ? {} : { servername: name };
}

/** Whether a server that ends unencrypted HTTP/2 connections accepts a TLS handshake. */
function speaksTls(target: Target, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    // Any certificate will do, since nothing is sent and nothing received is used.
    const socket = tls.connect({ ...target, ...serverName(target.host), rejectUnauthorized: false });
    const end = (answer: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => end(false), timeoutMs);
    socket.on('secureConnect', () => end(true));
    socket.on('error', (error: NodeJS.ErrnoException) => end(/ALERT/.test(error.code ?? '')));
    socket.on('end', () => end(false));
  });
}

/** Connects, greets as an HTTP/2 client does, and examines the response. */
function greet(
  target: Target,
  contents: TlsContents | undefined,
  timeoutMs: number,
  peer: Peer,
): Promise<Diagnosis | 'ended' | undefined> {
  return new Promise((resolve) => {
    let connected = false;
    const socket =
      contents === undefined
        ? net.connect(target as net.NetConnectOpts)
        : tls.connect({
            ...target,
            ca: contents.ca,
            cert: contents.certificate,
            key: contents.key,
            ALPNProtocols: ['h2'],
            ...serverName(contents.serverName ?? target.host),
          });
    const end = (diagnosis?: Diagnosis | 'ended') => {
      clearTimeout(timer);
      socket.destroy();
      resolve(diagnosis);
    };
    const silent: Diagnosis = {
      what: 'the server accepts connections but never answers',
      permanent: false,
    };
    const timer = setTimeout(() => end(connected ? silent : undefined), timeoutMs);
    socket.on(contents === undefined ? 'connect' : 'secureConnect', () => {
      connected = true;
      socket.write(greeting);
    });
    socket.on('data', (bytes: Buffer) => end(ofBytes(bytes, peer)));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const known = contents === undefined ? undefined : ofTlsError(error, peer);
      end(known ?? ofNameError(error, target, peer) ?? (connected ? 'ended' : undefined));
    });
    socket.on('end', () => end(connected ? 'ended' : undefined));
  });
}

/**
 * Connects once more, and infers from the response why gRPC cannot connect. Takes at most twice `timeoutMs`.
 * @returns undefined if it finds no problem.
 */
export async function diagnose(
  address: string,
  contents: TlsContents | undefined,
  timeoutMs: number,
  peer: Peer,
): Promise<Diagnosis | undefined> {
  const target = targetOf(address);
  const found = await greet(target, contents, timeoutMs, peer);
  if (found !== 'ended') return found;
  if (contents === undefined && (await speaksTls(target, timeoutMs))) return needsTls(peer);
  return ofSilentEnd(contents, peer);
}
