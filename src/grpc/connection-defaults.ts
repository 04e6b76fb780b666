/** The defaults of connection settings. */
export const connectionDefaults = {
  /** Of a call to a simulator. */
  simulatorDeadlineSeconds: 30,
  // By default, gRPC servers disconnect clients that ping more often than every 300 s.
  keepaliveSeconds: 310,
  maxMessageMegabytes: 64,
} as const;
