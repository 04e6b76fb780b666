import { describe, expect, it } from 'vitest';
import type { RecordedEpisode, TransitionSource } from '../../datasets/transitions/source.js';
import type { TensorSpec } from '../../environments/environment.js';
import type { EnvironmentShape } from '../control/policy-fit.js';
import { type DataShapeOptions, dataShape } from './data-shape.js';

const specs = (...list: TensorSpec[]) => Object.fromEntries(list.map((spec) => [spec.name, spec]));
const vector = (name: string, size: number, more: Partial<TensorSpec> = {}): TensorSpec => ({
  name,
  shape: [size],
  dtype: 'float64',
  ...more,
});

function sourceOf(observations: TensorSpec[], actions: TensorSpec[]): TransitionSource {
  return {
    where: 'data.jsonl',
    format: 'test',
    observationSpecs: specs(...observations),
    actionSpecs: specs(...actions),
    blocks: [],
    notes: [],
    read: async () => [],
    close: async () => {},
  };
}

const episode = (
  observations: Record<string, number[]>,
  actions: Record<string, number[]>,
): RecordedEpisode => ({
  where: 'data.jsonl:7',
  length: 1,
  observations,
  actions,
  rewards: [1],
  terminated: false,
});

const part = (name: string, size: number) => ({ name, shape: [size], size, divisor: 1, isBytes: false });

/** An environment with observations position [2] and velocity [1], and one action from −2 to 4. */
const environment: EnvironmentShape = {
  observationSize: 3,
  actionMinimum: Float32Array.of(-2),
  actionMaximum: Float32Array.of(4),
  actionValues: Int32Array.of(0),
  layout: {
    observations: [part('position', 2), part('velocity', 1)],
    actions: [{ name: 'force', shape: [1], size: 1 }],
  },
};

describe('the shape of a data set', () => {
  it("scales actions by the environment's bounds, and reads one vector as its observations", () => {
    const { encode, shape, notes } = dataShape(sourceOf([vector('observation', 3)], [vector('action', 1)]), {
      environment,
    });
    expect(shape).toEqual(environment);
    expect(notes).toEqual([
      "The observation is read as the environment's vector of position, velocity, in this order",
      "The action is read as the environment's vector of force, in this order",
    ]);
    expect(encode(episode({ observation: [1, 2, 3, 4, 5, 6] }, { action: [2.5] }))).toMatchObject({
      observations: Float32Array.of(1, 2, 3, 4, 5, 6),
      actions: Float32Array.of(0.5),
      clipped: 0,
    });
    const outside = encode(episode({ observation: [1, 2, 3, 4, 5, 6] }, { action: [5] }));
    expect(outside).toMatchObject({ actions: Float32Array.of(1), clipped: 1 });
  });

  it('lays observations out by name, whole numbers with bounds as one-hot codes', () => {
    const source = sourceOf(
      [vector('velocity', 1), { name: 'gear', shape: [], dtype: 'int64', minimum: 1, maximum: 3 }],
      [{ name: 'action', shape: [], dtype: 'int64', minimum: 0, maximum: 4 }],
    );
    const { encode, shape } = dataShape(source);
    expect(shape.observationSize).toBe(4);
    expect(Array.from(shape.actionValues)).toEqual([5]);
    expect(encode(episode({ velocity: [7, 8], gear: [1, 3] }, { action: [3] }))).toMatchObject({
      observations: Float32Array.of(1, 0, 0, 7, 0, 0, 1, 8),
      actions: Float32Array.of(0.5),
    });
    expect(() => encode(episode({ velocity: [7, 8], gear: [1, 9] }, { action: [3] }))).toThrow(
      "data.jsonl:7, step 1: observation 'gear'[0] is 9, outside of its bounds 1 and 3",
    );
    expect(() => encode(episode({ velocity: [7, 8], gear: [1, 1] }, { action: [2.5] }))).toThrow(
      "data.jsonl:7, step 0: the action 'action' is 2.5, and it takes whole numbers from 0 to 4",
    );
  });

  it('refuses data of another environment', () => {
    const of =
      (observations: TensorSpec[], actions = [vector('action', 1)]) =>
      () =>
        dataShape(sourceOf(observations, actions), { environment });
    expect(of([vector('observation', 4)])).toThrow(/data\.jsonl, environment: its observations are position/);
    expect(of([vector('position', 2), vector('speed', 1)])).toThrow('those of the data are position, speed');
    expect(of([vector('observation', 3)], [vector('action', 2)])).toThrow(
      'data.jsonl: its actions have 2 numbers, and those of the environment 1',
    );
    expect(of([vector('observation', 3)], [vector('action', 1, { minimum: -1, maximum: 1 })])).toThrow(
      'number 0 of its actions ranges from -2 to 4, and that of the data from -1 to 1',
    );
  });

  it('compares the names of actions with those of the environment', () => {
    const two: EnvironmentShape = {
      ...environment,
      actionMinimum: Float32Array.of(-1, -1),
      actionMaximum: Float32Array.of(1, 1),
      actionValues: Int32Array.of(0, 0),
      layout: {
        ...environment.layout!,
        actions: ['left', 'right'].map((name) => ({ name, shape: [1], size: 1 })),
      },
    };
    const of = (...actions: TensorSpec[]) =>
      dataShape(sourceOf([vector('observation', 3)], actions), { environment: two });
    const bounds = { minimum: -1, maximum: 1 };
    for (const more of [{}, bounds]) {
      expect(of(vector('left', 1, more), vector('right', 1, more)).shape).toEqual(two);
      expect(() => of(vector('left', 1, more), vector('up', 1, more))).toThrow(
        'environment: its actions are left, right, and those of the data are left, up',
      );
      expect(() => of(vector('both', 2, more))).toThrow('those of the data are both');
      expect(of(vector('action', 2, more)).notes).toContain(
        "The action is read as the environment's vector of left, right, in this order",
      );
    }
  });

  it('counts bounds that no policy can use as missing, and says which settings it does not use', () => {
    const of = (bound: number, options: DataShapeOptions) =>
      dataShape(
        sourceOf([vector('observation', 3)], [vector('action', 1, { minimum: -bound, maximum: bound })]),
        options,
      );
    expect(() => of(1e10, {})).toThrow('does not bound its actions. Set dataset.actionBounds');
    expect(of(1e10, { actionBounds: [-3, 3] }).shape.actionMaximum).toEqual(Float32Array.of(3));
    expect(of(1e10, { environment, actionBounds: [-3, 3] })).toMatchObject({
      shape: { actionMaximum: environment.actionMaximum },
      notes: expect.arrayContaining([expect.stringContaining('dataset.actionBounds is not used')]),
    });
    expect(of(1, { actionBounds: [-3, 3] }).notes).toEqual([
      'dataset.actionBounds is not used: the file itself bounds its actions',
    ]);
    expect(of(1, { actionValues: 3 }).notes).toEqual([
      'dataset.actionValues takes the place of the bounds that the file has',
    ]);
  });

  it('needs bounds from somewhere', () => {
    const source = sourceOf([vector('observation', 1)], [vector('action', 1)]);
    expect(() => dataShape(source)).toThrow(
      'data.jsonl: the file does not bound its actions. Set dataset.actionBounds',
    );
    expect(Array.from(dataShape(source, { actionBounds: [-3, 3] }).shape.actionMaximum)).toEqual([3]);
    expect(Array.from(dataShape(source, { actionValues: 6 }).shape.actionValues)).toEqual([6]);
  });
});
