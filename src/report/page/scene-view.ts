import { posesAt, targetAt } from '../scene-camera.js';
import type { SceneViewFactory } from './player.js';
import { SceneCanvas } from './scene-canvas.js';

/** The view of a recorded scene with WebGL; undefined where there is none. */
export const sceneView: SceneViewFactory = (stage, { scene }, poses, camera) => {
  if (scene === undefined) return undefined;
  const label = stage.querySelector('svg')?.getAttribute('aria-label') ?? 'The simulated bodies';
  const canvas = SceneCanvas.create(stage, scene, camera, label);
  return (
    canvas && {
      show: (moment) => canvas.draw(posesAt(poses, scene.bodies, moment), targetAt(camera, moment)),
      refresh: () => canvas.refresh(),
      dispose: () => canvas.dispose(),
    }
  );
};
