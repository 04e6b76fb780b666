import type { DataType } from '@tensorflow/tfjs-core';
import type { Attributes, Graph, Value } from './graph.js';
import { cast, elementwise, jointShape, kernel, numeric } from './kernels.js';
import { uniformOf } from './simplify.js';

/** Elementwise kernels: arithmetic, comparisons, activations and what their gradients call. */

/** Applies an operator to each element; a broadcast scalar is computed once. */
function map(graph: Graph, operator: string, x: Value, attributes: Attributes = {}, type = x.type): Value {
  return elementwise(graph, operator, [x], type, attributes);
}

const number = (graph: Graph, like: Value, value: number): Value =>
  graph.scalar(like.type === 'int32' ? 'int32' : 'float32', value);

const arithmetic = { Add: 'Add', Sub: 'Sub', Multiply: 'Mul', Maximum: 'Max', Minimum: 'Min' };
const comparisons = {
  Equal: 'Equal',
  Greater: 'Greater',
  GreaterEqual: 'GreaterOrEqual',
  Less: 'Less',
  LessEqual: 'LessOrEqual',
};
const sameName = [
  'Abs',
  'Acos',
  'Acosh',
  'Asin',
  'Asinh',
  'Atan',
  'Atanh',
  'Ceil',
  'Cos',
  'Cosh',
  'Erf',
  'Exp',
  'Floor',
  'Log',
  'Neg',
  'Reciprocal',
  'Relu',
  'Sigmoid',
  'Sign',
  'Sin',
  'Sinh',
  'Softplus',
  'Sqrt',
  'Tan',
  'Tanh',
] as const;

/** Operators that take integers and return integers. */
const integral: ReadonlySet<string> = new Set(['Abs', 'Neg', 'Relu', 'Sign']);

/** Both operands cast to one type: float32 if one of them is float32, else int32. */
function joined(graph: Graph, a: Value, b: Value): [Value, Value] {
  const [x, y] = [numeric(graph, a), numeric(graph, b)];
  const type = x.type === 'float32' || y.type === 'float32' ? 'float32' : 'int32';
  return [cast(graph, x, type), cast(graph, y, type)];
}

function not(graph: Graph, value: Value): Value {
  return map(graph, 'Not', value);
}

/**
 * exp(min(x, 0)), the derivative of ELU; ELU itself is max(x, exp(min(x, 0)) − 1). This is two to three times faster than the ELU and the
 * SELU of ONNX Runtime, and the backward pass uses the value computed in the forward pass. Clip in place of Min is faster alone, but it
 * always divides its work among the threads, which makes whole updates slower where other programs run.
 */
function eluSlope(graph: Graph, x: Value): Value {
  return map(graph, 'Exp', elementwise(graph, 'Min', [x, number(graph, x, 0)]));
}

/** The exponential linear unit. */
export function elu(graph: Graph, x: Value): Value {
  return elementwise(graph, 'Max', [x, elementwise(graph, 'Sub', [eluSlope(graph, x), number(graph, x, 1)])]);
}

export function registerElementwiseKernels(): void {
  for (const [name, operator] of Object.entries(arithmetic)) {
    kernel(name, ({ graph, input }) => elementwise(graph, operator, joined(graph, input('a'), input('b'))));
  }
  for (const [name, operator] of Object.entries(comparisons)) {
    kernel(name, ({ graph, input }) =>
      elementwise(graph, operator, joined(graph, input('a'), input('b')), 'bool'),
    );
  }
  for (const name of sameName) {
    kernel(name, ({ graph, input }) => {
      const x = input('x');
      if (x.type === 'float32') return map(graph, name, x);
      if (integral.has(name)) return map(graph, name, numeric(graph, x));
      // Rounding does not change integers.
      if (name === 'Floor' || name === 'Ceil') return x;
      return map(graph, name, cast(graph, x, 'float32'));
    });
  }
  kernel('NotEqual', ({ graph, input }) =>
    not(graph, elementwise(graph, 'Equal', joined(graph, input('a'), input('b')), 'bool')),
  );
  kernel('LogicalAnd', ({ graph, input }) => elementwise(graph, 'And', [input('a'), input('b')], 'bool'));
  kernel('LogicalOr', ({ graph, input }) => elementwise(graph, 'Or', [input('a'), input('b')], 'bool'));
  kernel('LogicalNot', ({ graph, input }) => not(graph, input('x')));
  kernel('LogicalXor', ({ graph, input }) => elementwise(graph, 'Xor', [input('a'), input('b')], 'bool'));
  kernel('AddN', ({ graph, inputs }) =>
    inputs().reduce((sum, term) => elementwise(graph, 'Add', joined(graph, sum, term))),
  );
  kernel('RealDiv', ({ graph, input }) =>
    elementwise(graph, 'Div', [cast(graph, input('a'), 'float32'), cast(graph, input('b'), 'float32')]),
  );
  kernel('FloorDiv', ({ graph, input }) => {
    const quotient = elementwise(graph, 'Div', [
      cast(graph, input('a'), 'float32'),
      cast(graph, input('b'), 'float32'),
    ]);
    return cast(graph, map(graph, 'Floor', quotient), input('a').type);
  });
  kernel('Mod', ({ graph, input }) => {
    // The result has the sign of the divisor, as in Python and TensorFlow; ONNX's Mod does so for integers only.
    const [a, b] = joined(graph, input('a'), input('b'));
    if (a.type === 'int32') return elementwise(graph, 'Mod', [a, b]);
    const floor = map(graph, 'Floor', elementwise(graph, 'Div', [a, b]));
    return elementwise(graph, 'Sub', [a, elementwise(graph, 'Mul', [floor, b])]);
  });
  kernel('Atan2', ({ graph, input }) => {
    const [y, x] = [cast(graph, input('a'), 'float32'), cast(graph, input('b'), 'float32')];
    const [zero, one] = [graph.scalar('float32', 0), graph.scalar('float32', 1)];
    const isBelow = elementwise(graph, 'Less', [y, zero], 'bool');
    const side = elementwise(graph, 'Where', [isBelow, graph.scalar('float32', -1), one]);
    const angle = map(graph, 'Atan', elementwise(graph, 'Div', [y, x]));
    const opposite = elementwise(graph, 'Add', [
      angle,
      elementwise(graph, 'Mul', [side, graph.scalar('float32', Math.PI)]),
    ]);
    const isLeft = elementwise(graph, 'Less', [x, zero], 'bool');
    const found = elementwise(graph, 'Where', [isLeft, opposite, angle]);
    // The angle of (0, 0) is 0 by convention; the quotient would be NaN.
    const isOrigin = elementwise(
      graph,
      'And',
      [elementwise(graph, 'Equal', [x, zero], 'bool'), elementwise(graph, 'Equal', [y, zero], 'bool')],
      'bool',
    );
    return elementwise(graph, 'Where', [isOrigin, zero, found]);
  });
  kernel('Pow', ({ graph, input }) => {
    const [a, b] = joined(graph, input('a'), input('b'));
    const exponent = uniformOf(b);
    if (exponent !== 2 && exponent !== 1.5) return elementwise(graph, 'Pow', [a, b]);
    // The exponents may be more than the bases.
    const base = graph.broadcast(a, jointShape([a, b]));
    if (exponent === 2) return elementwise(graph, 'Mul', [base, base]);
    // In the gradient of 1/√x; a general power takes twenty times as long.
    return elementwise(graph, 'Mul', [base, map(graph, 'Sqrt', base)]);
  });
  kernel('SquaredDifference', ({ graph, input }) => {
    const difference = elementwise(graph, 'Sub', joined(graph, input('a'), input('b')));
    return elementwise(graph, 'Mul', [difference, difference]);
  });
  kernel('Square', ({ graph, input }) => elementwise(graph, 'Mul', [input('x'), input('x')]));
  kernel('Rsqrt', ({ graph, input }) => map(graph, 'Reciprocal', map(graph, 'Sqrt', input('x'))));
  kernel('Expm1', ({ graph, input }) => {
    // exp(x) − 1 = 2 tanh(x/2) / (1 − tanh(x/2)) is accurate near 0, where the plain difference cancels.
    const x = input('x');
    const half = map(graph, 'Tanh', elementwise(graph, 'Mul', [x, number(graph, x, 0.5)]));
    const rational = elementwise(graph, 'Div', [
      elementwise(graph, 'Add', [half, half]),
      elementwise(graph, 'Sub', [number(graph, x, 1), half]),
    ]);
    const plain = elementwise(graph, 'Sub', [map(graph, 'Exp', x), number(graph, x, 1)]);
    const near = elementwise(graph, 'Less', [map(graph, 'Abs', x), number(graph, x, 0.5)], 'bool');
    return elementwise(graph, 'Where', [near, rational, plain]);
  });
  kernel('Log1p', ({ graph, input }) => {
    // log(1 + x) = 2 atanh(x / (2 + x)) is accurate near 0, where the plain logarithm is not.
    const x = input('x');
    const ratio = elementwise(graph, 'Div', [x, elementwise(graph, 'Add', [x, number(graph, x, 2)])]);
    const series = map(graph, 'Atanh', ratio);
    const plain = map(graph, 'Log', elementwise(graph, 'Add', [x, number(graph, x, 1)]));
    const near = elementwise(graph, 'Less', [map(graph, 'Abs', x), number(graph, x, 0.5)], 'bool');
    return elementwise(graph, 'Where', [near, elementwise(graph, 'Add', [series, series]), plain]);
  });
  kernel('Round', ({ graph, input }) =>
    input('x').type === 'float32' ? map(graph, 'Round', input('x')) : input('x'),
  );
  kernel('IsNan', ({ graph, input }) => map(graph, 'IsNaN', input('x'), {}, 'bool'));
  kernel('IsInf', ({ graph, input }) => map(graph, 'IsInf', input('x'), {}, 'bool'));
  kernel('IsFinite', ({ graph, input }) => {
    const x = input('x');
    const isNotFinite = elementwise(
      graph,
      'Or',
      [map(graph, 'IsNaN', x, {}, 'bool'), map(graph, 'IsInf', x, {}, 'bool')],
      'bool',
    );
    return not(graph, isNotFinite);
  });
  kernel('ClipByValue', ({ graph, input, attributes }) => {
    const x = input('x');
    const { clipValueMin, clipValueMax } = attributes as { clipValueMin: number; clipValueMax: number };
    return graph.emit(
      'Clip',
      [x, number(graph, x, clipValueMin), number(graph, x, clipValueMax)],
      {},
      {
        type: x.type,
        shape: x.shape,
      },
    );
  });
  kernel('Relu6', ({ graph, input }) => {
    const x = input('x');
    return graph.emit(
      'Clip',
      [x, number(graph, x, 0), number(graph, x, 6)],
      {},
      {
        type: x.type,
        shape: x.shape,
      },
    );
  });
  kernel('LeakyRelu', ({ graph, input, attributes }) =>
    map(graph, 'LeakyRelu', input('x'), { alpha: { float: attributes.alpha as number } }),
  );
  kernel('Prelu', ({ graph, input }) => elementwise(graph, 'PRelu', [input('x'), input('alpha')]));
  kernel('Elu', ({ graph, input }) => elu(graph, input('x')));
  kernel('EluGrad', ({ graph, input }) => {
    const [dy, y] = [input('dy'), input('y')];
    const x = y.node?.operator === 'Max' ? y.node.inputs[0] : undefined;
    const known = x !== undefined && elu(graph, x) === y;
    // From the output alone: 1 where y ≥ 0, y + 1 below.
    const slope = known
      ? eluSlope(graph, x)
      : elementwise(graph, 'Add', [elementwise(graph, 'Min', [y, number(graph, y, 0)]), number(graph, y, 1)]);
    return elementwise(graph, 'Mul', [dy, slope]);
  });
  kernel('Selu', ({ graph, input }) => map(graph, 'Selu', input('x')));
  kernel('Step', ({ graph, input, attributes }) => {
    // 1 above 0, alpha at and below it, NaN for NaN.
    const x = input('x');
    const alpha = (attributes.alpha as number | undefined) ?? 0;
    const positive = elementwise(graph, 'Greater', [x, number(graph, x, 0)], 'bool');
    if (alpha === 0) return cast(graph, positive, x.type);
    return elementwise(graph, 'Where', [positive, number(graph, x, 1), number(graph, x, alpha)]);
  });
  kernel('Select', ({ graph, input }) => {
    const condition = input('condition');
    const [t, e] = joined(graph, input('t'), input('e'));
    if (input('t').type === 'bool') {
      return cast(graph, elementwise(graph, 'Where', [condition, t, e]), 'bool');
    }
    return elementwise(graph, 'Where', [condition, t, e]);
  });
  kernel('Cast', ({ graph, input, attributes, refuse }) => {
    const x = input('x');
    const dtype = attributes.dtype as DataType;
    if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool') {
      return refuse(`a cast to ${dtype} cannot be traced`);
    }
    return cast(graph, x, dtype);
  });
  kernel('Identity', ({ input }) => input('x'));
}
