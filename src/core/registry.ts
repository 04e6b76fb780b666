import type { z } from 'zod';
import { ConfigError } from './errors.js';
import { nearest } from './nearest.js';

/** What is registered under a name: a description, a schema of its settings, and whatever the kind adds. */
export interface Definition {
  /** The name used in a configuration: `operator: {name: pmpo}`. */
  readonly name: string;
  /** One line for `pmpo operators`, `pmpo feedback`, `pmpo simulators`. */
  readonly description: string;
  /** The settings beside `name`, with their defaults and descriptions. Strict: an unknown key is an error. */
  readonly settings: z.ZodObject;
  /** The plugin that registered it; absent for what is built in. */
  readonly plugin?: string;
}

/** Named definitions of one kind. A name is taken once: a plugin cannot silently replace a built-in. */
export class Registry<D extends Definition> {
  readonly #definitions = new Map<string, D>();

  /** @param kind the word used in messages and as the config key: `operator`, `feedback`, `simulator`. */
  constructor(readonly kind: string) {}

  /** @throws ConfigError when the name is taken. */
  register(definition: D): void {
    const taken = this.#definitions.get(definition.name);
    if (taken !== undefined) {
      throw new ConfigError({
        what: `the ${this.kind} '${definition.name}' is registered already by ${taken.plugin ?? 'pmpo itself'}`,
        where: definition.plugin ?? this.kind,
        remedy: 'Give it another name',
      });
    }
    this.#definitions.set(definition.name, definition);
  }

  /** @throws ConfigError that names the nearest known name, if nothing is registered under `name`. */
  get(name: string): D {
    const found = this.#definitions.get(name);
    if (found !== undefined) return found;
    const guess = nearest(name, this.names());
    throw new ConfigError({
      what: `unknown ${this.kind} '${name}'`,
      where: this.kind,
      remedy: `${guess === undefined ? '' : `Did you mean '${guess}'? `}Known: ${this.names().join(', ')}`,
    });
  }

  names(): string[] {
    return [...this.#definitions.keys()];
  }

  definitions(): D[] {
    return [...this.#definitions.values()];
  }
}
