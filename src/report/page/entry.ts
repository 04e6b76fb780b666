import { playAll } from './player.js';

playAll();
