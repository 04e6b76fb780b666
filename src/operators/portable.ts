import type { OperatorNeeds } from './operator.js';

/**
 * What the file of an exported operator says about itself, as JSON in the ONNX metadata `pmpo.operator`. The Python package `pmpo`
 * reads it.
 *
 * The graph's inputs are the tensors in `inputs` and a scalar `setting/PATH` for each open setting. Its outputs are `loss`,
 * `gradient/INPUT` for each of `gradients`, `metric/NAME` for each of `metrics`, and `projected/NAME` for each part of the state, if
 * the operator projects it. A graph holds no gradient that is always 0.
 *
 * Axes are lengths or the names of open ones: N samples per context, B contexts, `D/PART` dimensions of a part of the KL.
 */
export interface PortableOperator {
  readonly format: typeof portableFormat;
  readonly name: string;
  readonly description: string;
  /** The version of pmpo that wrote the file. */
  readonly version: string;
  readonly needs: PortableNeeds;
  /** The needs that hold in place of `needs` where an open setting has this value. */
  readonly needsAt: readonly NeedsAt[];
  /** The names of the parts of the KL. */
  readonly klParts: readonly string[];
  readonly inputs: readonly PortableInput[];
  /** The names of the inputs in which the loss is differentiable. */
  readonly gradients: readonly string[];
  readonly metrics: readonly string[];
  readonly state: readonly PortableState[];
  readonly projectsState: boolean;
  readonly settings: PortableSettings;
}

export const portableFormat = 1;
export const portableKey = 'pmpo.operator';

/** The needs of a loss: how an operator treats a data set without ranks is left to its program. */
export type PortableNeeds = Required<Omit<OperatorNeeds, 'imitatesUnranked' | 'readsBaseline'>>;

export interface NeedsAt {
  readonly setting: string;
  readonly value: number;
  readonly needs: PortableNeeds;
}

export interface PortableInput {
  readonly name: string;
  readonly axes: readonly (number | string)[];
}

/** A part of the operator's state; all its elements start at one value. */
export interface PortableState {
  readonly name: string;
  readonly axes: readonly (number | string)[];
  readonly initial: InitialValue;
}

/** The initial value, c or c·f(setting): f is the natural logarithm or the identity. */
export type InitialValue =
  | { readonly value: number }
  | { readonly setting: string; readonly function: 'log' | 'identity'; readonly factor: number };

export interface PortableSettings {
  /** JSON Schema of all settings. */
  readonly schema: unknown;
  /** The settings of the export, defaults filled in. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Dotted paths of the settings that a user of the file may change: inputs of the graph, or of the initial state alone. */
  readonly open: readonly string[];
  /** Dotted paths of the settings that neither the graph nor the initial state depends on. */
  readonly unused: readonly string[];
}
