"""The MAVLink messages that the embedded vehicle speaks, as data.

One entry a message: `id NAME: type field, … | extension fields`, fields in the order of MAVLink's
XML definitions (common.xml; CURRENT_MODE from development.xml). `u8[4] x` is an array. Wire order,
sizes and CRC_EXTRA are derived in `racer.autopilot.mavlink`; a test compares every entry with
pymavlink. To speak one more message, add its entry here.
"""

from __future__ import annotations

DEFINITIONS = """
0 HEARTBEAT: u8 type, u8 autopilot, u8 base_mode, u32 custom_mode, u8 system_status, u8
    mavlink_version
1 SYS_STATUS: u32 onboard_control_sensors_present, u32 onboard_control_sensors_enabled, u32
    onboard_control_sensors_health, u16 load, u16 voltage_battery, i16 current_battery, i8
    battery_remaining, u16 drop_rate_comm, u16 errors_comm, u16 errors_count1, u16
    errors_count2, u16 errors_count3, u16 errors_count4 | u32
    onboard_control_sensors_present_extended, u32 onboard_control_sensors_enabled_extended, u32
    onboard_control_sensors_health_extended
2 SYSTEM_TIME: u64 time_unix_usec, u32 time_boot_ms
4 PING: u64 time_usec, u32 seq, u8 target_system, u8 target_component
11 SET_MODE: u8 target_system, u8 base_mode, u32 custom_mode
20 PARAM_REQUEST_READ: u8 target_system, u8 target_component, char[16] param_id, i16 param_index
21 PARAM_REQUEST_LIST: u8 target_system, u8 target_component
22 PARAM_VALUE: char[16] param_id, f32 param_value, u8 param_type, u16 param_count, u16
    param_index
23 PARAM_SET: u8 target_system, u8 target_component, char[16] param_id, f32 param_value, u8
    param_type
24 GPS_RAW_INT: u64 time_usec, u8 fix_type, i32 lat, i32 lon, i32 alt, u16 eph, u16 epv, u16
    vel, u16 cog, u8 satellites_visible | i32 alt_ellipsoid, u32 h_acc, u32 v_acc, u32 vel_acc,
    u32 hdg_acc, u16 yaw
29 SCALED_PRESSURE: u32 time_boot_ms, f32 press_abs, f32 press_diff, i16 temperature | i16
    temperature_press_diff
30 ATTITUDE: u32 time_boot_ms, f32 roll, f32 pitch, f32 yaw, f32 rollspeed, f32 pitchspeed, f32
    yawspeed
31 ATTITUDE_QUATERNION: u32 time_boot_ms, f32 q1, f32 q2, f32 q3, f32 q4, f32 rollspeed, f32
    pitchspeed, f32 yawspeed | f32[4] repr_offset_q
32 LOCAL_POSITION_NED: u32 time_boot_ms, f32 x, f32 y, f32 z, f32 vx, f32 vy, f32 vz
33 GLOBAL_POSITION_INT: u32 time_boot_ms, i32 lat, i32 lon, i32 alt, i32 relative_alt, i16 vx,
    i16 vy, i16 vz, u16 hdg
36 SERVO_OUTPUT_RAW: u32 time_usec, u8 port, u16 servo1_raw, u16 servo2_raw, u16 servo3_raw, u16
    servo4_raw, u16 servo5_raw, u16 servo6_raw, u16 servo7_raw, u16 servo8_raw | u16 servo9_raw,
    u16 servo10_raw, u16 servo11_raw, u16 servo12_raw, u16 servo13_raw, u16 servo14_raw, u16
    servo15_raw, u16 servo16_raw
40 MISSION_REQUEST: u8 target_system, u8 target_component, u16 seq | u8 mission_type
41 MISSION_SET_CURRENT: u8 target_system, u8 target_component, u16 seq
42 MISSION_CURRENT: u16 seq | u16 total, u8 mission_state, u8 mission_mode
43 MISSION_REQUEST_LIST: u8 target_system, u8 target_component | u8 mission_type
44 MISSION_COUNT: u8 target_system, u8 target_component, u16 count | u8 mission_type
45 MISSION_CLEAR_ALL: u8 target_system, u8 target_component | u8 mission_type
47 MISSION_ACK: u8 target_system, u8 target_component, u8 type | u8 mission_type
51 MISSION_REQUEST_INT: u8 target_system, u8 target_component, u16 seq | u8 mission_type
69 MANUAL_CONTROL: u8 target, i16 x, i16 y, i16 z, i16 r, u16 buttons | u16 buttons2, u8
    enabled_extensions, i16 s, i16 t, i16 aux1, i16 aux2, i16 aux3, i16 aux4, i16 aux5, i16 aux6
70 RC_CHANNELS_OVERRIDE: u8 target_system, u8 target_component, u16 chan1_raw, u16 chan2_raw,
    u16 chan3_raw, u16 chan4_raw, u16 chan5_raw, u16 chan6_raw, u16 chan7_raw, u16 chan8_raw |
    u16 chan9_raw, u16 chan10_raw, u16 chan11_raw, u16 chan12_raw, u16 chan13_raw, u16
    chan14_raw, u16 chan15_raw, u16 chan16_raw, u16 chan17_raw, u16 chan18_raw
73 MISSION_ITEM_INT: u8 target_system, u8 target_component, u16 seq, u8 frame, u16 command, u8
    current, u8 autocontinue, f32 param1, f32 param2, f32 param3, f32 param4, i32 x, i32 y, f32
    z | u8 mission_type
74 VFR_HUD: f32 airspeed, f32 groundspeed, i16 heading, u16 throttle, f32 alt, f32 climb
75 COMMAND_INT: u8 target_system, u8 target_component, u8 frame, u16 command, u8 current, u8
    autocontinue, f32 param1, f32 param2, f32 param3, f32 param4, i32 x, i32 y, f32 z
76 COMMAND_LONG: u8 target_system, u8 target_component, u16 command, u8 confirmation, f32
    param1, f32 param2, f32 param3, f32 param4, f32 param5, f32 param6, f32 param7
77 COMMAND_ACK: u16 command, u8 result | u8 progress, i32 result_param2, u8 target_system, u8
    target_component
82 SET_ATTITUDE_TARGET: u32 time_boot_ms, u8 target_system, u8 target_component, u8 type_mask,
    f32[4] q, f32 body_roll_rate, f32 body_pitch_rate, f32 body_yaw_rate, f32 thrust
83 ATTITUDE_TARGET: u32 time_boot_ms, u8 type_mask, f32[4] q, f32 body_roll_rate, f32
    body_pitch_rate, f32 body_yaw_rate, f32 thrust
84 SET_POSITION_TARGET_LOCAL_NED: u32 time_boot_ms, u8 target_system, u8 target_component, u8
    coordinate_frame, u16 type_mask, f32 x, f32 y, f32 z, f32 vx, f32 vy, f32 vz, f32 afx, f32
    afy, f32 afz, f32 yaw, f32 yaw_rate
85 POSITION_TARGET_LOCAL_NED: u32 time_boot_ms, u8 coordinate_frame, u16 type_mask, f32 x, f32
    y, f32 z, f32 vx, f32 vy, f32 vz, f32 afx, f32 afy, f32 afz, f32 yaw, f32 yaw_rate
86 SET_POSITION_TARGET_GLOBAL_INT: u32 time_boot_ms, u8 target_system, u8 target_component, u8
    coordinate_frame, u16 type_mask, i32 lat_int, i32 lon_int, f32 alt, f32 vx, f32 vy, f32 vz,
    f32 afx, f32 afy, f32 afz, f32 yaw, f32 yaw_rate
105 HIGHRES_IMU: u64 time_usec, f32 xacc, f32 yacc, f32 zacc, f32 xgyro, f32 ygyro, f32 zgyro,
    f32 xmag, f32 ymag, f32 zmag, f32 abs_pressure, f32 diff_pressure, f32 pressure_alt, f32
    temperature, u16 fields_updated | u8 id
110 FILE_TRANSFER_PROTOCOL: u8 target_network, u8 target_system, u8 target_component, u8[251]
    payload
111 TIMESYNC: i64 tc1, i64 ts1
117 LOG_REQUEST_LIST: u8 target_system, u8 target_component, u16 start, u16 end
118 LOG_ENTRY: u16 id, u16 num_logs, u16 last_log_num, u32 time_utc, u32 size
132 DISTANCE_SENSOR: u32 time_boot_ms, u16 min_distance, u16 max_distance, u16 current_distance,
    u8 type, u8 id, u8 orientation, u8 covariance | f32 horizontal_fov, f32 vertical_fov, f32[4]
    quaternion, u8 signal_quality
141 ALTITUDE: u64 time_usec, f32 altitude_monotonic, f32 altitude_amsl, f32 altitude_local, f32
    altitude_relative, f32 altitude_terrain, f32 bottom_clearance
147 BATTERY_STATUS: u8 id, u8 battery_function, u8 type, i16 temperature, u16[10] voltages, i16
    current_battery, i32 current_consumed, i32 energy_consumed, i8 battery_remaining | i32
    time_remaining, u8 charge_state, u16[4] voltages_ext, u8 mode, u32 fault_bitmask
148 AUTOPILOT_VERSION: u64 capabilities, u32 flight_sw_version, u32 middleware_sw_version, u32
    os_sw_version, u32 board_version, u8[8] flight_custom_version, u8[8]
    middleware_custom_version, u8[8] os_custom_version, u16 vendor_id, u16 product_id, u64 uid |
    u8[18] uid2
230 ESTIMATOR_STATUS: u64 time_usec, u16 flags, f32 vel_ratio, f32 pos_horiz_ratio, f32
    pos_vert_ratio, f32 mag_ratio, f32 hagl_ratio, f32 tas_ratio, f32 pos_horiz_accuracy, f32
    pos_vert_accuracy
241 VIBRATION: u64 time_usec, f32 vibration_x, f32 vibration_y, f32 vibration_z, u32 clipping_0,
    u32 clipping_1, u32 clipping_2
242 HOME_POSITION: i32 latitude, i32 longitude, i32 altitude, f32 x, f32 y, f32 z, f32[4] q, f32
    approach_x, f32 approach_y, f32 approach_z | u64 time_usec
244 MESSAGE_INTERVAL: u16 message_id, i32 interval_us
245 EXTENDED_SYS_STATE: u8 vtol_state, u8 landed_state
253 STATUSTEXT: u8 severity, char[50] text | u16 id, u8 chunk_seq
331 ODOMETRY: u64 time_usec, u8 frame_id, u8 child_frame_id, f32 x, f32 y, f32 z, f32[4] q, f32
    vx, f32 vy, f32 vz, f32 rollspeed, f32 pitchspeed, f32 yawspeed, f32[21] pose_covariance,
    f32[21] velocity_covariance | u8 reset_counter, u8 estimator_type, i8 quality
345 PARAM_ERROR: u8 target_system, u8 target_component, char[16] param_id, i16 param_index, u8
    error
436 CURRENT_MODE: u8 standard_mode, u32 custom_mode, u32 intended_custom_mode
"""
