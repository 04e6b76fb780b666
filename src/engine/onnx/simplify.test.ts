import { expect, it } from 'vitest';
import { Graph, type Value } from './graph.js';
import { cast, elementwise, reduce, transpose } from './kernels.js';

/** Graphs of a few nodes, in which equal values must be one value. That they compute the same is tested by random-graphs.test.ts. */

const shape = [3, 5];

function inputs(openLengths = false) {
  const graph = new Graph('', { openLengths });
  const [x, y, z] = ['x', 'y', 'z'].map((name) => graph.input(name, 'float32', shape)) as [
    Value,
    Value,
    Value,
  ];
  const zero = graph.scalar('float32', 0);
  const isPositive = (value: Value) => elementwise(graph, 'Greater', [value, zero], 'bool');
  const indicator = (condition: Value) => cast(graph, condition, 'float32');
  const product = (a: Value, b: Value) => elementwise(graph, 'Mul', [a, b]);
  const where = (condition: Value, a: Value, b: Value) => elementwise(graph, 'Where', [condition, a, b]);
  return { graph, x, y, z, zero, isPositive, indicator, product, where };
}

it('a condition as 0 and 1 is positive where the condition holds', () => {
  const { x, isPositive, indicator } = inputs();
  expect(isPositive(indicator(isPositive(x)))).toBe(isPositive(x));
});

it('a value that is 0 where a condition does not hold is not multiplied by the condition again', () => {
  const { x, y, zero, isPositive, indicator, product, where } = inputs();
  const one = indicator(isPositive(x));
  expect(product(one, one)).toBe(one);
  expect(product(where(isPositive(x), y, zero), one)).toBe(where(isPositive(x), y, zero));
  expect(product(one, product(y, one))).toBe(product(y, one));
  // By another condition it is.
  expect(product(where(isPositive(y), y, zero), one).node?.operator).toBe('Mul');
  // And so is one that has other values there.
  expect(product(where(isPositive(x), y, x), one).node?.operator).toBe('Mul');
});

it('the product of two conditions is that of both', () => {
  const { x, y, isPositive, indicator, product } = inputs();
  const both = product(indicator(isPositive(x)), indicator(isPositive(y)));
  expect(both.node?.operator).toBe('Cast');
  expect(both.node?.inputs[0]?.node?.operator).toBe('And');
});

it('a choice by a condition that was made already is not made again', () => {
  const { x, y, z, isPositive, where } = inputs();
  const condition = isPositive(x);
  expect(where(condition, where(condition, y, x), z)).toBe(where(condition, y, z));
  expect(where(condition, z, where(condition, x, y))).toBe(where(condition, z, y));
});

it('the sum with a negative is a difference', () => {
  const { graph, x, y } = inputs();
  const difference = elementwise(graph, 'Sub', [x, y]);
  const negative = elementwise(graph, 'Neg', [y]);
  expect(elementwise(graph, 'Add', [x, negative])).toBe(difference);
  expect(elementwise(graph, 'Add', [negative, x])).toBe(difference);
});

it('one number everywhere stays one number when axes are exchanged', () => {
  const { graph, zero } = inputs();
  expect(transpose(graph, graph.broadcast(zero, shape), [1, 0]).broadcastOf).toBe(zero);
});

it('where lengths are open, a mean of sums is one sum with a factor', () => {
  const { graph, x } = inputs(true);
  const mean = reduce(graph, 'ReduceMean', reduce(graph, 'ReduceSum', x, [0], false), [0], false);
  expect(mean.node?.operator).toBe('Mul');
  expect(mean.node?.inputs[0]).toBe(reduce(graph, 'ReduceSum', x, [0, 1], false));
  expect(mean.node?.inputs[1]?.constant?.[0]).toBeCloseTo(1 / 5, 7);
});

it('a constant factor goes to the operand that is broadcast', () => {
  const { graph, x, product } = inputs();
  const column = graph.input('column', 'float32', [3, 1]);
  const two = graph.scalar('float32', 2);
  const whole = graph.broadcast(column, shape);
  expect(product(whole, product(x, two))).toBe(product(product(column, two), x));
  // A product of vectors is a matrix, whichever of them has the factor.
  const row = graph.input('row', 'float32', [5]);
  expect(product(whole, product(row, two)).shape).toEqual(shape);
});
