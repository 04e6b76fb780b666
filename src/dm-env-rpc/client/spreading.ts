import { ConnectionLostError } from '../../core/errors.js';

/**
 * The processes of one server (plugins/simulator-server) share a port, and the kernel gives each connection to one of them by chance. A
 * stream with this key in its metadata may be refused by a process that has more streams than another; the status of the refusal has the
 * key, too. Servers that do not know the key take every stream.
 */
export const spreadMetadataKey = 'pmpo-spread';

/** A process of the server has refused the stream because another one has fewer. Another connection may reach that one. */
export class ElsewhereError extends ConnectionLostError {}

/**
 * The attempts to connect, the last of which keeps its process. The 15 before it miss the only free one of four processes with a chance of
 * 1 %, of 64 with 79 %.
 */
const spreadAttempts = 16;

/**
 * Connects until a process of the server takes the stream.
 * @param connect with `spread`, the stream may be refused with ElsewhereError.
 */
export async function connectSpread<T>(connect: (spread: boolean) => Promise<T>): Promise<T> {
  for (let attempt = 1; attempt < spreadAttempts; attempt++) {
    try {
      return await connect(true);
    } catch (error) {
      if (!(error instanceof ElsewhereError)) throw error;
    }
  }
  return connect(false);
}
