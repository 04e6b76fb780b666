/** The defaults of connection settings. */
export const connectionDefaults = {
  // By default, gRPC servers disconnect clients that ping more often than every 300 s.
  keepaliveSeconds: 310,
  maxMessageMegabytes: 64,
} as const;
