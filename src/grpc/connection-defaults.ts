/** What a connection to a server has where its options say nothing. */
export const connectionDefaults = {
  // gRPC servers, as they come, hang up on clients that ping more than every 300 s.
  keepaliveSeconds: 310,
  maxMessageMegabytes: 64,
} as const;
