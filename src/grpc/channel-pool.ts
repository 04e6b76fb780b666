import { callUnary } from './call.js';
import { type Channel, openChannel } from './channel.js';
import type { Peer } from './peer.js';
import { ServerPool } from './server-pool.js';
import { probeSeconds, resolveSettings, type ServerSettings } from './server-settings.js';

/** Connections to servers that answer single calls, as their settings say. */

type Method = Parameters<typeof callUnary>[1];

/** A pool of channels that are not open yet, and the limits of its calls. */
export interface ChannelPool {
  readonly pool: ServerPool<Channel>;
  readonly addresses: readonly string[];
  /** Maximum duration of connecting, and of the first calls that say what a server is. */
  readonly connectSeconds: number;
  /** Maximum duration of any other call. */
  readonly deadlineSeconds: number;
}

/**
 * Makes a pool of the servers in the settings.
 * @param probe a method that takes an empty request, by which a server shows that it is alive.
 * @param greet is called with each new connection, which is closed if it throws.
 */
export function channelPool(
  settings: ServerSettings,
  peer: Peer,
  probe: Method,
  greet: (channel: Channel, connectSeconds: number) => Promise<void> = async () => {},
): ChannelPool {
  const { addresses, connectSeconds, deadlineSeconds, inFlight, reconnect, ...channel } =
    resolveSettings(settings);
  const pool = new ServerPool<Channel>({
    addresses,
    inFlight,
    reconnect,
    peer,
    open: async (address) => {
      const opened = await openChannel({ ...channel, address, deadlineSeconds: connectSeconds }, peer);
      try {
        await greet(opened, connectSeconds);
      } catch (error) {
        opened.client.close();
        throw error;
      }
      return opened;
    },
    close: ({ client }) => client.close(),
    probe: (server) => callUnary(server, probe, {}, peer, { deadlineSeconds: probeSeconds }),
  });
  return { pool, addresses, connectSeconds, deadlineSeconds };
}
