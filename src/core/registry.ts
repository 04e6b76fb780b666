import type { z } from 'zod';
import { ConfigError } from './errors.js';
import { suggestion } from './nearest.js';

/** The fields of every registered definition; each kind (operator, feedback, …) adds a function that creates one. */
export interface Definition {
  /** The name used in a configuration: `operator: {name: pmpo}`. */
  readonly name: string;
  /** One line for lists such as `pmpo operators`. */
  readonly description: string;
  /** The settings besides `name`, with their defaults and descriptions. A strict schema: an unknown key is an error. */
  readonly settings: z.ZodObject;
  /** The plugin that registered it; undefined if it is built in. */
  readonly plugin?: string;
}

/** Named definitions of one kind. Names are unique, so that a plugin cannot silently replace a built-in definition. */
export class Registry<D extends Definition> {
  readonly #definitions = new Map<string, D>();

  /** @param kind the word used in messages and as the config key: `operator`, `feedback`, `simulator`. */
  constructor(readonly kind: string) {}

  /** @throws ConfigError when the name is taken. */
  register(definition: D): void {
    const taken = this.#definitions.get(definition.name);
    if (taken !== undefined) {
      throw new ConfigError({
        what: `the ${this.kind} '${definition.name}' is already registered by ${taken.plugin ?? 'pmpo itself'}`,
        where: definition.plugin ?? this.kind,
        remedy: 'Choose another name',
      });
    }
    this.#definitions.set(definition.name, definition);
  }

  /** @throws ConfigError when nothing is registered under `name`; the message suggests the nearest name. */
  get(name: string): D {
    const found = this.#definitions.get(name);
    if (found !== undefined) return found;
    throw new ConfigError({
      what: `unknown ${this.kind} '${name}'`,
      where: this.kind,
      remedy: `${suggestion(name, this.names())}Known: ${this.names().join(', ')}`,
    });
  }

  names(): string[] {
    return [...this.#definitions.keys()];
  }

  definitions(): D[] {
    return [...this.#definitions.values()];
  }
}
