/**
 * The humanoid's body: 1.6 m and about 45 kg of capsules, 21 motors. Each body's frame is at the joint that moves it, x is
 * forward, y to the left, z up; with every joint at 0 it stands straight with its arms hanging.
 */

interface Hinge {
  readonly name: string;
  readonly axis: readonly [number, number, number];
  /** The limits, in degrees. */
  readonly range: readonly [number, number];
  /** The motor's torque at control 1, in N m. */
  readonly torque: number;
  /** The passive spring toward angle 0 (N m/rad); `damping` is its damper (N m s/rad). */
  readonly stiffness: number;
  readonly damping: number;
}

interface Part {
  readonly name: string;
  /** The position in the frame of the parent part, in meters. */
  readonly at: readonly [number, number, number];
  readonly hinges: readonly Hinge[];
  /** MJCF geoms without their names. */
  readonly geoms: readonly string[];
  readonly parts: readonly Part[];
}

type Axis = Hinge['axis'];
const [x, y, z]: readonly Axis[] = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];

const capsule = (fromto: string, size: number) => `type="capsule" fromto="${fromto}" size="${size}"`;
const sphere = (pos: string, size: number) => `type="sphere" pos="${pos}" size="${size}"`;

function hinge(
  name: string,
  axis: Axis,
  range: Hinge['range'],
  torque: number,
  [stiffness, damping]: readonly [number, number],
): Hinge {
  return { name, axis, range, torque, stiffness, damping };
}

const trunkSpring = [20, 5] as const;
const hipSpring = [10, 5] as const;
const limbSpring = [2, 1] as const;

/** Rotations about x and z are mirrored, so that the same angle turns both legs outwards. */
function legOf(side: 'right' | 'left'): Part {
  const s = side === 'left' ? 1 : -1;
  const mirrored = (axis: Axis): Axis => [axis[0] * s, axis[1], axis[2] * s];
  return {
    name: `${side}_thigh`,
    at: [0, 0.1 * s, -0.06],
    hinges: [
      hinge(`${side}_hip_x`, mirrored(x), [-15, 35], 50, hipSpring),
      hinge(`${side}_hip_z`, mirrored(z), [-35, 50], 40, hipSpring),
      hinge(`${side}_hip_y`, y, [-115, 25], 120, hipSpring),
    ],
    geoms: [capsule('0 0 -0.04 0 0 -0.36', 0.06)],
    parts: [
      {
        name: `${side}_shin`,
        at: [0, 0, -0.42],
        hinges: [hinge(`${side}_knee`, y, [-2, 150], 90, limbSpring)],
        geoms: [capsule('0 0 -0.03 0 0 -0.34', 0.048)],
        parts: [
          {
            name: `${side}_foot`,
            at: [0, 0, -0.4],
            hinges: [
              hinge(`${side}_ankle_y`, y, [-45, 45], 40, limbSpring),
              hinge(`${side}_ankle_x`, x, [-30, 30], 25, limbSpring),
            ],
            geoms: [
              capsule('-0.07 -0.025 -0.05 0.15 -0.035 -0.05', 0.027),
              capsule('-0.07 0.025 -0.05 0.15 0.035 -0.05', 0.027),
            ],
            parts: [],
          },
        ],
      },
    ],
  };
}

function armOf(side: 'right' | 'left'): Part {
  const s = side === 'left' ? 1 : -1;
  return {
    name: `${side}_upper_arm`,
    at: [0, 0.22 * s, 0.08],
    hinges: [
      hinge(`${side}_shoulder_x`, [s, 0, 0], [-10, 120], 25, limbSpring),
      hinge(`${side}_shoulder_y`, y, [-150, 60], 25, limbSpring),
    ],
    geoms: [capsule('0 0 0 0 0 -0.25', 0.038)],
    parts: [
      {
        name: `${side}_hand`,
        at: [0, 0, -0.28],
        hinges: [hinge(`${side}_elbow`, y, [-140, 2], 25, limbSpring)],
        geoms: [capsule('0 0 -0.03 0 0 -0.21', 0.03), sphere('0 0 -0.26', 0.04)],
        parts: [],
      },
    ],
  };
}

const torso: Part = {
  name: 'torso',
  at: [0, 0, 1.21],
  hinges: [],
  geoms: [capsule('0 -0.11 0.06 0 0.11 0.06', 0.075), capsule('0 -0.06 -0.07 0 0.06 -0.07', 0.075)],
  parts: [
    { name: 'head', at: [0, 0, 0.26], hinges: [], geoms: [sphere('0 0 0', 0.095)], parts: [] },
    armOf('right'),
    armOf('left'),
    {
      name: 'waist',
      at: [0, 0, -0.17],
      hinges: [
        hinge('abdomen_z', z, [-45, 45], 40, trunkSpring),
        hinge('abdomen_y', y, [-30, 75], 60, trunkSpring),
      ],
      geoms: [capsule('0 -0.05 -0.03 0 0.05 -0.03', 0.07)],
      parts: [
        {
          name: 'pelvis',
          at: [0, 0, -0.08],
          hinges: [hinge('abdomen_x', x, [-35, 35], 40, trunkSpring)],
          geoms: [capsule('0 -0.07 -0.04 0 0.07 -0.04', 0.085)],
          parts: [legOf('right'), legOf('left')],
        },
      ],
    },
  ],
};

function hingeElement({ name, axis, range, stiffness, damping }: Hinge): string {
  return `<joint name="${name}" axis="${axis.join(' ')}" range="${range.join(' ')}" stiffness="${stiffness}" damping="${damping}"/>`;
}

function partElement({ name, at, hinges, geoms, parts }: Part, inside = ''): string {
  return `<body name="${name}" pos="${at.join(' ')}">${inside}
    ${hinges.map(hingeElement).join('\n    ')}
    ${geoms.map((geom, i) => `<geom name="${name}_${i}" ${geom}/>`).join('\n    ')}
    ${parts.map((part) => partElement(part)).join('\n    ')}
  </body>`;
}

const allHinges = ({ hinges, parts }: Part): Hinge[] => [...hinges, ...parts.flatMap(allHinges)];

const motorElement = ({ name, torque }: Hinge) => `<motor name="${name}" joint="${name}" gear="${torque}"/>`;

/** The torque of each motor at control 1, in N m, in the order of the actuators (and of the hinges), [21]. */
export const humanoidTorques: readonly number[] = allHinges(torso).map(({ torque }) => torque);

export const humanoidMjcf = `
<mujoco model="humanoid">
  <size memory="1M"/>
  <option timestep="0.005" integrator="implicitfast" iterations="20" ls_iterations="20"/>
  <default>
    <joint type="hinge" armature="0.01" limited="true" solimplimit="0 0.99 0.01"/>
    <geom friction="0.8 0.1 0.1" solimp="0.9 0.99 0.003" solref="0.015 1"/>
    <motor ctrllimited="true" ctrlrange="-1 1"/>
  </default>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1"/>
    ${partElement(torso, '<freejoint name="root"/>')}
  </worldbody>
  <actuator>
    ${allHinges(torso).map(motorElement).join('\n    ')}
  </actuator>
  <sensor>
    <subtreelinvel name="velocity" body="torso"/>
  </sensor>
</mujoco>`;
