import { expect, it } from 'vitest';
import { poseSize, type Scene } from '../core/scene.js';
import { cameraOf, fieldOfView, middleOf, targetAt } from './scene-camera.js';

/** A pole of 1 m on a cart at a height of 1 m, as in the embedded cartpole. */
const scene: Scene = {
  bodies: 2,
  meshes: [],
  geoms: [
    { shape: 'box', size: [0.2, 0.15, 0.1], body: 0, position: [0, 0, 0], rotation: [1, 0, 0, 0] },
    { shape: 'capsule', size: [0.045, 0.5, 0], body: 1, position: [0, 0, 0.5], rotation: [1, 0, 0, 0] },
  ],
};
const pose = (x: number, angle: number) => [
  ...[x, 0, 1, 1, 0, 0, 0],
  ...[x, 0, 1, Math.cos(angle / 2), 0, Math.sin(angle / 2), 0],
];

it.each([
  ['in its place', 0],
  ['along its rail', 1.8],
])('sees the ends of a pole that swings %s, hanging and upright', (_, reach) => {
  const poses = Array.from({ length: 101 }, (_, i) =>
    pose(reach * Math.sin(i / 10), (i / 100) * 2 * Math.PI),
  ).flat();
  const camera = cameraOf(scene, Float32Array.from(poses));
  const half = camera.distance * Math.tan(fieldOfView / 2);
  for (const moment of [0, 50, 100]) {
    const [, , z] = targetAt(camera, moment);
    expect(z + half).toBeGreaterThan(2.05);
    expect(z - half).toBeLessThan(-0.05);
  }
  expect(poses.length).toBe(101 * 2 * poseSize);
});

it('looks between two recorded moments at a point between their targets', () => {
  const camera = { targets: Float32Array.of(0, 0, 1, 2, 4, 1) };
  expect([-1, 0, 0.5, 1, 9].map((moment) => targetAt(camera, moment))).toEqual([
    [0, 0, 1],
    [0, 0, 1],
    [1, 2, 1],
    [2, 4, 1],
    [2, 4, 1],
  ]);
});

it('knows the middle of all that moves', () => {
  const [x, y, z] = middleOf(scene, Float32Array.from(pose(0.5, 0)));
  expect([x, y].map((value) => Number(value.toFixed(3)))).toEqual([0.5, 0]);
  expect(z).toBeGreaterThan(1.2);
});
