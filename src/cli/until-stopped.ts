/** Waits until the user stops the program (Ctrl-C), and then closes what it has served. */
export async function untilStopped(server: { close(): Promise<void> }): Promise<void> {
  const { handleSignals } = await import('../system/signals.js');
  const signals = handleSignals();
  await new Promise((resolve) => signals.signal.addEventListener('abort', resolve, { once: true }));
  signals.dispose();
  await server.close();
}
