import { expect, it } from 'vitest';
import { Ledger } from './ledger.js';

it('distinguishes the next chunk of an actor from a repetition and from a chunk after a gap', () => {
  const ledger = new Ledger();
  expect(ledger.enter('a', 1)).toEqual({ repeated: false, missing: 0 });
  expect(ledger.enter('b', 1)).toEqual({ repeated: false, missing: 0 });
  expect(ledger.enter('a', 1)).toEqual({ repeated: true, missing: 0 });
  expect(ledger.enter('a', 4)).toEqual({ repeated: false, missing: 2 });
  // A missing chunk that arrives late is out of order, and looks like a repetition.
  expect(ledger.enter('a', 2)).toEqual({ repeated: true, missing: 0 });
  expect(ledger.enter('a', 5)).toEqual({ repeated: false, missing: 0 });
  expect(ledger.actors).toBe(2);
});

it('continues from a snapshot that went through JSON, whatever the names of actors', () => {
  const ledger = new Ledger();
  ledger.enter('__proto__', 3);
  ledger.enter('host-1', 2);
  const restored = new Ledger();
  restored.restore(JSON.parse(JSON.stringify(ledger.snapshot())) as Record<string, number>);
  expect(restored.enter('host-1', 2)).toEqual({ repeated: true, missing: 0 });
  expect(restored.enter('__proto__', 4)).toEqual({ repeated: false, missing: 0 });
});
